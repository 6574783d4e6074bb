//! One finished request ([`record::Record`]), what only some sinks need of it ([`capture`]), and
//! its queue to the control plane ([`ring`]).

pub mod capture;
pub mod record;
pub mod ring;
pub mod sampling;
mod short;
pub mod stages;
pub mod trace;
pub mod user_agent;
