//! Settings: flags, environment and file, merged, checked and explained.
