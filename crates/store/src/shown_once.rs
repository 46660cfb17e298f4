//! Tokens that were just issued, sealed, until the browser that issued them has shown them.

use chrono::{DateTime, Utc};
use domain::{SessionId, TokenId};

use crate::{Error, TenantTx};

/// What a form carries, so that it issues one token however often it is sent.
pub type FormId = [u8; 16];

/// Lets a form of this session issue a token, unless it has: then that token. Two that are sent at once wait for one
/// another. Forgets what is over.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn claim(
    tx: &mut TenantTx,
    (session, form): (SessionId, FormId),
    (now, ends_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Option<TokenId>, Error> {
    sqlx::query!(
        "delete from shown_once where (session_id, form) in
         (select session_id, form from shown_once where ends_at < $1 limit 1000 for update skip locked)",
        now
    )
    .execute(tx.connection())
    .await?;
    let issued = sqlx::query_scalar!(
        r#"insert into shown_once as s (session_id, form, ends_at) values ($1, $2, $3)
           on conflict on constraint shown_once_pkey do update set form = s.form
           returning token_id as "token: TokenId""#,
        session.uuid(),
        &form,
        ends_at,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(issued)
}

/// Keeps what is to be shown of the token that a form issued in this transaction.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn keep(
    tx: &mut TenantTx,
    (session, form): (SessionId, FormId),
    token: TokenId,
    sealed: &[u8],
) -> Result<(), Error> {
    sqlx::query!(
        "update shown_once set token_id = $3, sealed = $4 where session_id = $1 and form = $2",
        session.uuid(),
        &form,
        token.uuid(),
        sealed,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes what is to be shown of a token, so that it is there no more; none where it was taken, or is over, or is another
/// session's.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take(
    tx: &mut TenantTx,
    session: SessionId,
    token: TokenId,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, Error> {
    let sealed = sqlx::query_scalar!(
        r#"update shown_once n set sealed = null
           from (select form, sealed from shown_once
                 where session_id = $1 and token_id = $2 and sealed is not null and ends_at > $3 for update) o
           where n.session_id = $1 and n.form = o.form returning o.sealed as "sealed!""#,
        session.uuid(),
        token.uuid(),
        now,
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(sealed)
}
