//! What the tests stand on.

pub mod authority;
pub mod citus;
pub mod days;
pub mod disk;
pub mod dump;
pub mod hostile_vendor;
pub mod logins;
pub mod mirror;
pub mod planting;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod site;
pub mod standing;
pub mod vendor;
pub mod waiting;
