//! One finished request ([`entry::Record`]), what of it only some sinks want ([`capture`]), and the
//! way it takes to the background thread ([`ring`]).

pub mod capture;
pub mod record;
pub mod ring;
pub mod sampling;
pub mod stages;
pub mod trace;
pub mod user_agent;
