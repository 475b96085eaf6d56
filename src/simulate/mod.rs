//! The simulated vendor: answers like the documented API, from a seed.

mod contact;
mod dice;
mod json_text;
mod lifecycle;
mod population;
mod render;
mod vendor;
mod vocabulary;
