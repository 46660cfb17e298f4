//! Where credentials rest, and the keys both planes work with.
