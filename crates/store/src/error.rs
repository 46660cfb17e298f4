//! The one door for what the database itself may do wrong.

/// The database failed, or answered what it never should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Connection, time-out, or a statement it refused.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A stored value does not read back.
    #[error("a stored value of column `{column}` does not read back")]
    Unreadable {
        /// Where it stands.
        column: &'static str,
    },
}

impl Error {
    /// Whether it is worth trying again: the connection failed, or two transactions met.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                // serialization_failure, deadlock_detected, and the server going away or coming up (class 57P).
                error.code().is_some_and(|code| code == "40001" || code == "40P01" || code.starts_with("57P"))
            }
            Self::Database(error) => {
                matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_))
            }
            Self::Unreadable { .. } => false,
        }
    }
}

impl Error {
    /// Whether a statement was ended for taking longer than it was allowed (`query_canceled`).
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.has_code(|code| code == "57014")
    }

    /// Whether another transaction held a lock for longer than we wait (`lock_not_available`).
    #[must_use]
    pub fn is_lock_timeout(&self) -> bool {
        self.has_code(|code| code == "55P03")
    }

    /// Whether the values themselves were refused, and will be again: data exceptions, broken constraints, limits.
    #[must_use]
    pub fn is_refused_value(&self) -> bool {
        self.has_code(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
    }

    fn has_code(&self, test: impl Fn(&str) -> bool) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().is_some_and(|code| test(&code)))
    }
}

/// Whether a statement failed because of this constraint.
pub(crate) fn broke(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.constraint() == Some(constraint))
}

/// Reads a stored word with the `find` of its type.
pub(crate) fn read<T>(column: &'static str, found: Option<T>) -> Result<T, Error> {
    found.ok_or(Error::Unreadable { column })
}
