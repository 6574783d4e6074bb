//! One folder for each wire format, with the same files in each.

pub(crate) mod chat;
pub mod errors;
pub(crate) mod messages;
pub mod profile;
pub(crate) mod responses;

use crate::format::Format;
use profile::FormatProfile;

impl Format {
    /// Returns what is particular to this format.
    pub fn profile(self) -> &'static FormatProfile {
        match self {
            Format::Chat => &chat::PROFILE,
            Format::Messages => &messages::PROFILE,
            Format::Responses => &responses::PROFILE,
        }
    }

    /// Returns the word for this format on the command line, in configuration and in metric labels.
    pub fn name(self) -> &'static str {
        self.profile().name
    }

    /// Returns the vendor's name of this format, for sentences.
    pub fn title(self) -> &'static str {
        self.profile().title
    }

    /// Returns the word that dashboards and logs of llm-proxy v1 know (`client_protocol`,
    /// `provider_protocol`).
    pub fn protocol(self) -> &'static str {
        self.profile().protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_agree_with_themselves() {
        for format in Format::ALL {
            let profile = format.profile();
            assert!(profile.fallbacks.iter().all(|other| *other != format), "{format}");
            assert_ne!(profile.fallbacks[0], profile.fallbacks[1], "{format}");
            assert!(profile.vendor.is_native(), "{format}");
            let smallest: serde_json::Value = serde_json::from_str(profile.request.smallest).unwrap();
            assert!(smallest.get(profile.request.conversation).is_some(), "{format}");
            assert_eq!(profile.http.count_path.is_none(), profile.http.counted_members.is_empty(), "{format}");
        }
    }
}
