//! The console through its real router: a browser that keeps cookies, and rules that every page keeps.

mod account;
mod activity;
mod attacks;
pub(crate) mod browser;
mod connect;
mod frame;
mod many_tools;
pub(crate) mod markup;
mod own;
mod palette;
mod people;
mod policies;
mod roles;
mod servers;
mod session;
mod settings;
mod sign_up;
mod style;
mod tokens;
mod who;
