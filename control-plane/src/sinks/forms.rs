//! What people fill in for each kind of destination: a table, from which forms are shown and read.

use std::fmt;

use audit::export::Format;
use domain::Secret;
use serde_json::{Map, Value};

use super::settings::Settings;
use crate::problem::Problem;

/// A kind of destination as it is offered.
#[derive(Debug)]
pub(super) struct KindForm {
    /// Its word.
    pub(super) word: &'static str,
    /// What people call it.
    pub(super) title: &'static str,
    /// How it is spoken to.
    pub(super) sub: &'static str,
    /// What may be set of it: members of its settings.
    pub(super) fields: &'static [Field],
    /// What proves us to it: one text, or members of an object.
    pub(super) secrets: &'static [Field],
}

/// One thing that is filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) placeholder: &'static str,
    pub(super) shape: Shape,
    pub(super) is_needed: bool,
}

/// How it is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line.
    Line,
    /// Several lines.
    Text,
}

const fn line(name: &'static str, label: &'static str, hint: &'static str, placeholder: &'static str) -> Field {
    Field { name, label, hint, placeholder, shape: Shape::Line, is_needed: true }
}

const fn optional(field: Field) -> Field {
    Field { is_needed: false, ..field }
}

const fn text(name: &'static str, label: &'static str, hint: &'static str) -> Field {
    Field { name, label, hint, placeholder: "-----BEGIN", shape: Shape::Text, is_needed: true }
}

const CERTIFICATES: Field = Field {
    name: "certificates",
    label: "Receiver’s CA certificate (optional)",
    hint: "PEM. Only needed where its certificate is from no public authority.",
    placeholder: "-----BEGIN CERTIFICATE-----",
    shape: Shape::Text,
    is_needed: false,
};

/// The kinds there are.
pub(super) const FORMS: &[KindForm] = &[
    KindForm {
        word: "webhook",
        title: "Webhook",
        sub: "Signed JSON lines over HTTPS",
        fields: &[
            line(
                "url",
                "Address",
                "Batches are posted there, signed as Standard Webhooks say. Its path may be a secret, so it is shown as ***; leave that to keep it.",
                "https://siem.example/sluice",
            ),
            CERTIFICATES,
        ],
        secrets: &[Field {
            placeholder: "whsec_…",
            ..text("secret", "Signing secret", "The receiver checks signatures with it. It is not shown again.")
        }],
    },
    KindForm {
        word: "splunk_hec",
        title: "Splunk",
        sub: "HTTP Event Collector",
        fields: &[
            line("url", "Collector", "Its address, with the port.", "https://splunk.example:8088"),
            optional(line("index", "Index (optional)", "The token’s own if empty.", "main")),
            optional(line("source", "Source (optional)", "", "sluice")),
            optional(line("sourcetype", "Source type (optional)", "", "sluice:audit")),
            CERTIFICATES,
        ],
        secrets: &[line("secret", "Token", "It can be replaced and is never shown.", "")],
    },
    KindForm {
        word: "s3",
        title: "S3",
        sub: "Compressed JSON lines, each written once",
        fields: &[
            line("bucket", "Bucket", "", "acme-audit"),
            line("region", "Region", "", "eu-central-1"),
            optional(line("prefix", "Prefix (optional)", "Every key begins with it.", "sluice")),
            optional(line("endpoint", "Endpoint (optional)", "For S3-compatible stores only.", "https://s3.example")),
            optional(line(
                LINGER,
                "Wait (optional)",
                "Seconds until an object that is not full is written, at most 240; 60 if empty.",
                "60",
            )),
            CERTIFICATES,
        ],
        secrets: &[
            line("access_key_id", "Access key id", "It needs s3:PutObject under the prefix.", "AKIA…"),
            line("secret_access_key", "Secret access key", "It can be replaced and is never shown.", ""),
        ],
    },
    KindForm {
        word: "syslog",
        title: "Syslog",
        sub: "RFC 5424 over TLS",
        fields: &[
            line("host", "Host", "Name or address.", "syslog.example"),
            optional(line(PORT, "Port (optional)", "6514 if empty.", "6514")),
            CERTIFICATES,
            optional(line(
                "fingerprint",
                "Fingerprint (optional)",
                "SHA-256. Only this certificate is trusted then.",
                "",
            )),
        ],
        secrets: &[
            optional(text(
                "certificate",
                "Client certificate (optional)",
                "PEM. Only needed where the receiver asks for one.",
            )),
            optional(text("key", "Client private key (optional)", "PEM. It can be replaced and is never shown.")),
        ],
    },
];

/// Fields that are numbers.
const PORT: &str = "port";
const LINGER: &str = "linger_s";

impl KindForm {
    /// The kind of that word.
    pub(super) fn find(word: &str) -> Option<&'static Self> {
        FORMS.iter().find(|form| form.word == word)
    }

    /// What it is called within a sentence.
    pub(super) fn named(&self) -> String {
        // The others are names.
        if matches!(self.word, "webhook" | "syslog") { self.title.to_lowercase() } else { self.title.to_owned() }
    }

    /// The formats that make sense for it.
    pub(super) fn formats(&self) -> impl Iterator<Item = Format> {
        let only_json = self.word != "syslog";
        Format::ALL.iter().copied().filter(move |format| format.is_json() || !only_json)
    }
}

/// What somebody filled in. It may hold a secret, and shows nothing of itself.
#[derive(Clone, Default)]
pub(super) struct Sent(Vec<(String, String)>);

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent(…)")
    }
}

impl Sent {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// One field more.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a field; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|pair| pair.0 == name).map_or("", |pair| pair.1.trim())
    }

    /// The values of a field that may be chosen several times.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.clone()).collect()
    }

    /// The settings of a kind.
    pub(super) fn settings(&self, form: &KindForm) -> Result<Settings, Problem> {
        let mut settings = Map::new();
        settings.insert("kind".to_owned(), form.word.into());
        for field in form.fields {
            let text = self.get(field.name);
            if text.is_empty() && field.is_needed {
                return Err(Problem::invalid(field.name, "Fill this in."));
            }
            let value = match field.name {
                _ if text.is_empty() => continue,
                PORT | LINGER => {
                    let number = text.parse::<u16>();
                    Value::from(number.map_err(|_| Problem::invalid(field.name, "A whole number, up to 65535."))?)
                }
                _ => Value::from(text),
            };
            settings.insert(field.name.to_owned(), value);
        }
        let first = form.fields.first().map_or("", |field| field.name);
        serde_json::from_value(Value::Object(settings)).map_err(|_| Problem::invalid(first, "This can't be used."))
    }

    /// The secret of a kind; `None` where nothing was filled in.
    pub(super) fn secret(&self, form: &KindForm) -> Option<Secret<String>> {
        if let [only] = form.secrets {
            let text = self.get(only.name);
            return (!text.is_empty()).then(|| Secret::new(text.to_owned()));
        }
        let filled = form.secrets.iter().map(|field| (field.name, self.get(field.name)));
        let members: Map<String, Value> =
            filled.filter(|pair| !pair.1.is_empty()).map(|pair| (pair.0.to_owned(), Value::from(pair.1))).collect();
        (!members.is_empty()).then(|| Secret::new(Value::Object(members).to_string()))
    }
}

/// Settings as a form has them.
pub(super) fn filled(settings: &Settings) -> Sent {
    let Ok(Value::Object(members)) = serde_json::to_value(settings) else { return Sent::default() };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Sent(members.into_iter().map(|(name, value)| (name, text(value))).collect())
}
