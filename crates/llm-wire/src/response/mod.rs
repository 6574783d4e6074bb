//! Steps of response translation that all formats share, for whole answers and for streams.

pub mod custom_tools;
pub mod normalize;
pub mod stop;
pub mod whole;
