//! The log as a file: what a search finds, streamed page by page, newest first.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{CallId, Clock, RecordId, TokenId};
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use store::audit::search::{self, Filter, Place, Row};
use uuid::Uuid;

use super::actions::{self, Scope};
use super::pages;
use super::query::{self, Asked, Names};
use super::rows;
use crate::access::{Can, may};
use crate::console::{Present, Zone, show};
use crate::ingest::change::Change;
use crate::input::Form;
use crate::problem::Problem;

/// Records that are read at once.
const PAGE: usize = 1000;
/// How long a page of a file may take: nobody waits for it in front of a screen.
const BUDGET: Duration = Duration::from_secs(30);
/// Most records in a file.
const RECORDS_MAX: usize = 1_000_000;

const HEAD: &str = "time,epoch_ms,record,sequence,kind,caller,caller_id,token,client,server,tool,decision,status,\
                    duration_ms,result_bytes,trace,call,action";

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// RFC 4180, a line for each record.
    Csv,
    /// A JSON object on each line, with the record's exact bytes in it.
    Ndjson,
}

impl Format {
    fn find(text: &str) -> Option<Self> {
        [Self::Csv, Self::Ndjson].into_iter().find(|format| format.ending() == text)
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// `POST /w/{tenant}/activity/export`: the same search as the page it was asked for on. That somebody took the log along is
/// itself recorded, before the first byte leaves.
pub(super) async fn export(
    State(clock): State<Clock>,
    zone: Zone,
    can: Can<may::OwnActivity>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let format = pairs.iter().find(|(name, _)| name == "format").and_then(|(_, value)| Format::find(value));
    let format = format.ok_or_else(|| Problem::invalid("format", "is csv or ndjson"))?;
    let pairs = pairs.into_iter().filter(|(name, _)| name != "format" && name != "_csrf").collect();
    // A file has records, whatever the page shows them by.
    let asked = Asked::read(pairs).without("group");
    let mut tx = can.begin().await?;
    let names = pages::names(&mut tx, Scope::of(&can), &asked).await?;
    let resolved = query::resolve(&asked, &names, Present { now: clock.now(), zone });
    // The file would hold more than was asked for.
    if let Some(chip) = resolved.chips.iter().find(|chip| !chip.fault.is_empty()) {
        return Err(Problem::invalid(&chip.name, chip.fault.clone()));
    }
    let change = Change::new("activity.export", "activity", tx.tenant()).named(format.ending()).after(&asked.pairs());
    can.author(&clock).noted(&mut tx, change).await?;
    tx.commit().await?;
    let name = format!("activity-{}-{}.{}", can.actor().slug(), clock.now().format("%Y%m%dT%H%M%SZ"), format.ending());
    let scope = Scope::of_export(&can);
    let stamp = Stamp {
        schema: "sluice.export/1",
        workspace: can.actor().slug().to_string(),
        by: can.actor().user().to_string(),
        at: written(clock.now()),
        from: written(resolved.filter.from),
        until: written(resolved.filter.until),
        whose: if scope.is_all() { "everybody" } else { "own" },
        filter: asked.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let head = stream::iter([Ok(Bytes::from(stamp.head(format)))]);
    let writing = Writing { scope, can, filter: resolved.filter, after: None, names, format, left: RECORDS_MAX };
    let rest = stream::unfold(Some(writing), async |writing| Some(writing?.next().await));
    let body = Body::from_stream(futures_util::StreamExt::chain(head, rest));
    Ok((headers(format, &name), body).into_response())
}

/// What a file holds, said in it.
#[derive(Debug, Serialize)]
struct Stamp {
    schema: &'static str,
    workspace: String,
    by: String,
    at: String,
    from: String,
    until: String,
    whose: &'static str,
    filter: BTreeMap<String, String>,
}

impl Stamp {
    /// The beginning of a file. CSV has no place for remarks: the stamp is the name of a last column, without values, so
    /// that every program reads one table with a line for its names. In NDJSON it is an object of its own, the first.
    fn head(&self, format: Format) -> String {
        let said = serde_json::json!({ "export": self }).to_string();
        match format {
            Format::Csv => format!("{HEAD},{}\r\n", csv_cell(&said)),
            Format::Ndjson => format!("{said}\n"),
        }
    }
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn headers(format: Format, name: &str) -> [(HeaderName, HeaderValue); 2] {
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
    ]
}

/// A file that is being written.
struct Writing {
    can: Can<may::OwnActivity>,
    scope: Scope,
    filter: Filter,
    after: Option<Place>,
    names: Names,
    format: Format,
    left: usize,
}

impl Writing {
    /// The next piece, and what goes on after it. When it can't be had the answer breaks off, so that nobody takes the file
    /// for whole.
    async fn next(mut self) -> (io::Result<Bytes>, Option<Self>) {
        match self.page().await {
            Ok((piece, is_last)) => (Ok(piece), (!is_last).then_some(self)),
            Err(problem) => (Err(io::Error::other(problem.title().to_owned())), None),
        }
    }

    async fn page(&mut self) -> Result<(Bytes, bool), Problem> {
        // Whoever lost the right meanwhile gets no further.
        let mut tx = self.can.begin().await?;
        let limit = PAGE.min(self.left);
        let filter = self.filter.clone();
        let page = actions::search_within(&mut tx, self.scope, filter, (self.after, limit), BUDGET).await?;
        drop(tx);
        let text = match self.format {
            Format::Csv => page.rows.iter().map(|row| csv_line(row, &self.names)).collect::<String>(),
            Format::Ndjson => self.ndjson(&page.rows).await?,
        };
        self.left -= page.rows.len();
        self.after = page.next;
        Ok((Bytes::from(text), page.next.is_none() || self.left == 0))
    }

    /// In a transaction of its own: one whose search ran out of time reads nothing more.
    async fn ndjson(&self, rows: &[Row]) -> Result<String, Problem> {
        let mut tx = self.can.begin().await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let partitions = search::partitions(&mut tx, self.filter.from, self.filter.until).await?;
        let bodies = search::bodies(&mut tx, &ids, partitions).await?;
        let mut bodies: HashMap<Uuid, Vec<u8>> = bodies.into_iter().collect();
        Ok(rows.iter().map(|row| ndjson_line(row, bodies.remove(&row.id))).collect())
    }
}

fn ndjson_line(row: &Row, body: Option<Vec<u8>>) -> String {
    let record = body.and_then(|body| RawValue::from_string(String::from_utf8(body).ok()?).ok());
    let line = serde_json::json!({
        "id": RecordId::from_uuid(row.id), "epoch": row.epoch, "seq": row.seq,
        "received_at": row.received_at.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    let line = line.to_string();
    // The record stands as its bytes are, for whoever checks its hash. One that can't stand here is not left out in silence.
    let head = line.strip_suffix('}').unwrap_or(&line);
    record.map_or_else(
        || format!("{head},\"record\":null,\"fault\":\"The record's bytes could not be read\"}}\n"),
        |record| format!("{head},\"record\":{}}}\n", record.get()),
    )
}

fn csv_line(row: &Row, names: &Names) -> String {
    let (caller, _) = rows::caller(row.actor_kind.as_deref(), row.actor_id.as_deref(), names);
    let server = row.server_id.and_then(|id| names.server(id)).map(|server| server.key.to_string());
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        row.time.to_rfc3339_opts(SecondsFormat::Millis, true),
        row.time.timestamp_millis().to_string(),
        RecordId::from_uuid(row.id).to_string(),
        row.seq.to_string(),
        row.kind.clone(),
        caller,
        text(&row.actor_id),
        row.token_id.map(|id| TokenId::from_uuid(id).to_string()).unwrap_or_default(),
        text(&row.client_name),
        server.unwrap_or_default(),
        text(&row.tool_name),
        text(&row.effect),
        text(&row.status),
        row.duration_us.map(|us| format!("{}.{:03}", us / 1000, us % 1000)).unwrap_or_default(),
        number(row.result_bytes),
        text(&row.trace_id),
        row.call_id.map(|id| CallId::from_uuid(id).to_string()).unwrap_or_default(),
        text(&row.change_action),
    ];
    let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
    // The last column is the stamp's.
    format!("{},\r\n", cells.join(","))
}

/// A cell of RFC 4180. What a spreadsheet would run as a formula is made a text with an apostrophe before it: callers and
/// clients choose some of these texts. Where commas stand in numbers a spreadsheet takes other characters for the end of a
/// cell and knows no quotes in the midst of one, so what follows one of those is looked at like a beginning.
fn csv_cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 2);
    let mut begins = true;
    for char in text.chars() {
        if begins && (is_of_formula(char) || safe.is_empty() && char.is_control()) {
            safe.push('\'');
        }
        let ends = matches!(char, ';' | '|' | '\t' | '\r' | '\n');
        begins = ends || begins && (char == '"' || char.is_whitespace() || show::is_hidden(char));
        safe.push(char);
    }
    if safe.contains(['"', ',', '\r', '\n', ';', '\t']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

/// Whether a formula may begin with it.
const fn is_of_formula(char: char) -> bool {
    matches!(char, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
}

#[cfg(test)]
mod tests {
    use super::csv_cell;

    #[test]
    fn a_cell_is_a_text_whatever_is_in_it() {
        for (text, cell) in [
            ("plain", "plain"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("  =1+1", "  '=1+1"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("-1", "'-1"),
            ("\t=1", "\"'\t'=1\""),
            ("＝1", "'＝1"),
            ("a \"b\",\nc", "\"a \"\"b\"\",\nc\""),
            ("\u{a0}\u{feff}=1", "\u{a0}\u{feff}'=1"),
            ("\"=1", "\"\"\"'=1\""),
            // Where a semicolon ends a cell, the quotes of this one are no quotes.
            ("a;=1", "\"a;'=1\""),
            ("a\t @b;\"+c", "\"a\t '@b;\"\"'+c\""),
            ("a\n-b", "\"a\n'-b\""),
            ("a=b", "a=b"),
            ("2026-11-20", "2026-11-20"),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
