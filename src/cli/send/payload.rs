//! A profile that is to be sent: gzipped pprof, its labels and its time, as it lies in memory and in the spool.
//!
//! The file is one line of JSON (the head) and the pprof as it is.

use serde::{Deserialize, Serialize};

/// Version of the form.
const VERSION: u32 = 1;
/// Bytes of a head that are believed.
const MOST_HEAD: usize = 64 << 10;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Who, when and what.
    pub(crate) head: Head,
    /// pprof, gzipped.
    pub(crate) pprof: Vec<u8>,
}

/// What stands beside the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    version: u32,
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// Name and value, `service_name` first.
    pub(crate) labels: Vec<(String, String)>,
    /// What it is, in words, for messages.
    pub(crate) what: String,
    /// Its name in the cursor, where it has one.
    #[serde(default)]
    pub(crate) key: Option<String>,
}

impl Head {
    /// Of a profile of this time.
    pub(crate) fn new(time_ns: u64, labels: Vec<(String, String)>, what: String) -> Head {
        Head { version: VERSION, time_ns, labels, what, key: None }
    }

    /// The service that it is of.
    pub(crate) fn service(&self) -> &str {
        self.labels.iter().find(|(name, _)| name == super::labels::SERVICE).map_or("unknown", |(_, value)| value)
    }

    /// The other labels.
    pub(crate) fn others(&self) -> impl Iterator<Item = &(String, String)> {
        self.labels.iter().filter(|(name, _)| name != super::labels::SERVICE)
    }
}

impl Payload {
    /// The file's bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(&self.head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.pprof);
        bytes
    }

    /// Reads such a file; `None`: it is damaged, or of a later version.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Payload> {
        let end = bytes.iter().take(MOST_HEAD).position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let pprof = bytes.get(end + 1..)?.to_vec();
        (head.version == VERSION && pprof.starts_with(&[0x1f, 0x8b])).then_some(Payload { head, pprof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_comes_back_as_it_went_and_a_damaged_one_not_at_all() {
        let labels = vec![("service_name".into(), "shop\n".into()), ("pod".into(), "shop-0".into())];
        let head = Head::new(7, labels, "process 1".into());
        let payload = Payload { head, pprof: vec![0x1f, 0x8b, b'\n', 0] };
        let bytes = payload.to_bytes();
        assert_eq!(Payload::of_bytes(&bytes), Some(payload.clone()));
        assert_eq!((payload.head.service(), payload.head.others().count()), ("shop\n", 1));
        for cut in 0..bytes.len() - 2 {
            assert_eq!(Payload::of_bytes(&bytes[..cut]), None, "{cut}");
        }
        let later = String::from_utf8_lossy(&bytes).replace("\"version\":1", "\"version\":2").into_bytes();
        assert_eq!(Payload::of_bytes(&later), None);
    }
}
