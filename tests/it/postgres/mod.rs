//! PostgreSQL as the store, on a real server.

mod adopt;
mod gateway;
mod store;
