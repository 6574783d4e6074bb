//! Steps of response translation that all formats share, for whole answers and for streams.

pub mod custom_tools;
pub(crate) mod delta_template;
pub mod normalize;
pub mod stop;
pub mod whole;
