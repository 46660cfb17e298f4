//! Cedar: our schema, validation of a policy text, decide, explain, obligations.
