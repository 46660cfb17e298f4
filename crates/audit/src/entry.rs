//! What a frame carries: intents and outcomes of calls, notes, and signs of life. Bytes and back; the decoder is total.

use bytes::Bytes;
use domain::{BootId, CallId, TenantId};
use uuid::Uuid;

use crate::record::Leaf;

/// A record and, beside it, what is personal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Body {
    /// The canonical bytes.
    pub record: Bytes,
    /// The personal part, where there is one.
    pub private: Option<Private>,
}

/// The personal part of a record and the key of its commitment: to be stored sealed, together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Private {
    /// Random, of this record alone.
    pub key: [u8; 32],
    /// Canonical JSON of [`crate::pii::Pii`].
    pub pii: Bytes,
}

/// One entry of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A call is about to be forwarded.
    Intent {
        /// Whose.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// `gw.n`.
        n: u64,
        /// The record so far.
        body: Body,
    },
    /// A call is over.
    Final {
        /// Whose.
        tenant: TenantId,
        /// The call.
        call: CallId,
        /// `gw.n`, that of the intent where there was one.
        n: u64,
        /// Whether an intent was formed.
        had_intent: bool,
        /// The whole record.
        body: Body,
    },
    /// Anything else worth a record; it says `final: false`.
    Note {
        /// Whose.
        tenant: TenantId,
        /// `gw.n`.
        n: u64,
        /// The record.
        body: Body,
    },
    /// The source lives.
    Beat,
    /// The source is done: an orderly stop.
    End,
    /// These earlier boots of the same node are over.
    Dead(Vec<BootId>),
}

const INTENT: u8 = 1;
const FINAL_OF_INTENT: u8 = 2;
const FINAL: u8 = 3;
const NOTE: u8 = 4;
const BEAT: u8 = 5;
const END: u8 = 6;
const DEAD: u8 = 7;

/// What stands before a record in a frame.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// [`Entry::Intent`].
    Intent(CallId),
    /// [`Entry::Final`] of a call that had an intent.
    FinalOfIntent(CallId),
    /// [`Entry::Final`] of a call that had none.
    Final(CallId),
    /// [`Entry::Note`].
    Note,
}

/// Appends an entry with a record, `n` put in where the leaf left it open.
pub(crate) fn put_record(
    out: &mut Vec<u8>,
    form: Form,
    (tenant, n): (TenantId, u64),
    leaf: &Leaf,
    private: Option<&Private>,
) {
    put_head(out, form, tenant, n);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    leaf.complete(n, out);
    let length = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    put_private(out, private);
}

fn put_head(out: &mut Vec<u8>, form: Form, tenant: TenantId, n: u64) {
    let (tag, call) = match form {
        Form::Intent(call) => (INTENT, Some(call)),
        Form::FinalOfIntent(call) => (FINAL_OF_INTENT, Some(call)),
        Form::Final(call) => (FINAL, Some(call)),
        Form::Note => (NOTE, None),
    };
    out.push(tag);
    out.extend_from_slice(tenant.uuid().as_bytes());
    if let Some(call) = call {
        out.extend_from_slice(call.uuid().as_bytes());
    }
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_private(out: &mut Vec<u8>, private: Option<&Private>) {
    let Some(private) = private else {
        out.push(0);
        return;
    };
    out.push(1);
    out.extend_from_slice(&private.key);
    put_bytes(out, &private.pii);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Entry {
    /// Appends the entry's bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let (form, tenant, n, body) = match self {
            Self::Intent { tenant, call, n, body } => (Form::Intent(*call), *tenant, *n, body),
            Self::Final { tenant, call, n, had_intent: true, body } => (Form::FinalOfIntent(*call), *tenant, *n, body),
            Self::Final { tenant, call, n, had_intent: false, body } => (Form::Final(*call), *tenant, *n, body),
            Self::Note { tenant, n, body } => (Form::Note, *tenant, *n, body),
            Self::Beat => return out.push(BEAT),
            Self::End => return out.push(END),
            Self::Dead(boots) => {
                out.push(DEAD);
                let count = u16::try_from(boots.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&count.to_le_bytes());
                boots.iter().take(usize::from(count)).for_each(|boot| out.extend_from_slice(boot.uuid().as_bytes()));
                return;
            }
        };
        put_head(out, form, tenant, n);
        put_bytes(out, &body.record);
        put_private(out, body.private.as_ref());
    }

    /// Takes an entry off the front; `None` when there is no whole one.
    pub(crate) fn take(input: &mut Input<'_>) -> Option<Self> {
        let tag = input.array::<1>()?[0];
        Some(match tag {
            INTENT => {
                let (tenant, call, n) = (input.id(TenantId::from_uuid)?, input.id(CallId::from_uuid)?, input.u64()?);
                Self::Intent { tenant, call, n, body: input.body()? }
            }
            FINAL | FINAL_OF_INTENT => {
                let (tenant, call, n) = (input.id(TenantId::from_uuid)?, input.id(CallId::from_uuid)?, input.u64()?);
                Self::Final { tenant, call, n, had_intent: tag == FINAL_OF_INTENT, body: input.body()? }
            }
            NOTE => {
                let (tenant, n) = (input.id(TenantId::from_uuid)?, input.u64()?);
                Self::Note { tenant, n, body: input.body()? }
            }
            BEAT => Self::Beat,
            END => Self::End,
            DEAD => {
                let count = u16::from_le_bytes(input.array()?);
                Self::Dead((0..count).map(|_| input.id(BootId::from_uuid)).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// Whose log the entry concerns.
    #[must_use]
    pub const fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Intent { tenant, .. } | Self::Final { tenant, .. } | Self::Note { tenant, .. } => Some(*tenant),
            Self::Beat | Self::End | Self::Dead(_) => None,
        }
    }

    /// The call whose row in the table of open calls decides what becomes of the entry.
    #[must_use]
    pub const fn call(&self) -> Option<(TenantId, CallId)> {
        match self {
            Self::Intent { tenant, call, .. } | Self::Final { tenant, call, had_intent: true, .. } => {
                Some((*tenant, *call))
            }
            _ => None,
        }
    }
}

/// What is left to read.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) at: usize,
}

impl Input<'_> {
    pub(crate) fn slice(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Some(slice)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.bytes.get(self.at..)?.first_chunk::<N>().copied()?;
        self.at += N;
        Some(array)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn id<T>(&mut self, make: fn(Uuid) -> T) -> Option<T> {
        self.array().map(Uuid::from_bytes).map(make)
    }

    fn sized(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(self.array()?);
        self.slice(usize::try_from(length).ok()?)
    }

    fn body(&mut self) -> Option<Body> {
        let record = self.sized()?;
        let private = match self.array::<1>()?[0] {
            0 => None,
            1 => Some(Private { key: self.array()?, pii: self.sized()? }),
            _ => return None,
        };
        Some(Body { record, private })
    }
}
