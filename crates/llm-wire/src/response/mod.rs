//! Steps of response translation that all formats share, for whole answers and for streams.

pub(crate) mod custom_tools;
pub(crate) mod delta_template;
pub(crate) mod normalize;
pub(crate) mod stop;
pub(crate) mod whole;
