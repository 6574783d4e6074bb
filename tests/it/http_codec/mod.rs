//! The HTTP/1.1 codec from outside: known traps by name, hyper as the yardstick, any cut of any
//! stream, content codings.

mod codings;
mod cuts;
mod hyper_oracle;
mod request_streams;
mod response_streams;
mod traps;
