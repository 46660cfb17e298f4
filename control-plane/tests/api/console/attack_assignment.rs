//! Fields that no form has, sent to every route that takes a form: the database is as it would be without them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::attack_fields::MORE;
use super::browser::Browser;
use super::routes::{World, everything, posts, refs};
use crate::app::{App, Person};

const OLIVE: &str = "olive@acme.example";

/// Routes that refuse a form with a field they don't know: what a file holds is what was asked for.
const REFUSE: [&str; 1] = ["/w/{tenant}/activity/export"];

/// The rows of tables, as they are.
type Tables = BTreeMap<String, String>;

/// Rounds in which ids are told apart.
const ROUNDS: usize = 4;

/// What all tables hold, each row without what is another one each time: ids, secrets and the exact time.
type Shape = BTreeMap<String, Vec<String>>;

/// Names and values as forms send them.
type Fields = Vec<(String, String)>;

/// What somebody might hope that a form takes, too: among it every column of every table that no field of ours is called.
async fn more(pool: &PgPool) -> Fields {
    let templates = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/templates"));
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select column_name::text, min(data_type) from information_schema.columns where table_schema = 'public'
         group by 1 order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let value = |kind: &str| match kind {
        "boolean" => "true",
        "uuid" => "00000000-0000-0000-0000-000000000000",
        "bigint" | "integer" | "smallint" => "7",
        kind if kind.starts_with("timestamp") => "2099-01-01T00:00:00Z",
        _ => "canary",
    };
    let is_field = |name: &str| templates.contains(&format!("\"{name}\"")) || MORE.iter().any(|(own, _)| *own == name);
    let columns = columns.into_iter().filter(|(name, _)| !is_field(name));
    let columns: Fields = columns.map(|(name, kind)| (name, value(&kind).to_owned())).collect();
    assert!(columns.len() > 100, "{columns:?}");
    MORE.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(columns).collect()
}

/// All files of a folder, one after the other.
fn text_of(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { text_of(&path) } else { std::fs::read_to_string(path).unwrap() }).collect()
}

/// Sends the form of every route with these fields too, and gives what was answered and what there is then. Where they are
/// refused, the form is sent without them after all, so that the next ones find what they need.
async fn sent(app: &App, more: &Fields) -> (Person, Vec<(String, u16, Tables)>) {
    let (owner, person) = Browser::of_owner(app).await;
    let world = World::of(app, (&owner, &person), OLIVE).await;
    app.node_finds(&[crate::app::tool("search", "x")]);
    let mut all = Vec::new();
    for route in posts() {
        // A link that was mailed to somebody is opened by somebody who is not signed in.
        let visitor = Browser::new(app);
        let is_theirs = matches!(route.path.as_str(), "/sign-up/{token}" | "/reset/{token}" | "/invitations/{token}");
        let sender = if is_theirs { &visitor } else { &owner };
        if !is_theirs && sender.get("/account").await.status != 200 {
            owner.post("/sign-in", &refs(&world.fields("/sign-in"))).await.expect(303);
            owner.get("/account").await.expect(200);
        }
        let (path, own) = (world.path(&route.path), world.fields(&route.path));
        let further = more.iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name));
        let fields = refs(&own).into_iter().chain(further.map(|(name, value)| (name.as_str(), value.as_str())));
        let mut status = sender.post(&path, &fields.collect::<Vec<_>>()).await.status.as_u16();
        if !more.is_empty() && REFUSE.contains(&route.path.as_str()) {
            assert_eq!(status, 422, "{path}");
            status = sender.post(&path, &refs(&own)).await.status.as_u16();
        }
        assert!(matches!(status, 200 | 303 | 409), "{path}: {status}");
        all.push((route.path, status, everything(&app.parts.pool).await));
    }
    (person, all)
}

/// What tables hold, comparable with what they hold another time. An id is told from others by the rows that name it, by those
/// that name the ids in these, and so on for so many rounds; with none of them all ids are alike.
fn shape(tables: &Tables, rounds: usize) -> Shape {
    let now = service::clock().now();
    let rows = tables.iter().flat_map(|(table, rows)| rows.lines().map(move |row| (table.as_str(), row)));
    let rows: Vec<(&str, Value)> =
        rows.map(|(table, row)| (table, known(serde_json::from_str(row).unwrap(), now))).collect();
    let mut labels: HashMap<Uuid, u64> = HashMap::new();
    for _ in 0..rounds {
        let mut named: HashMap<Uuid, Vec<String>> = HashMap::new();
        for (table, row) in &rows {
            let shown = labelled(row, &labels).to_string();
            for (place, id) in ids(row, table) {
                named.entry(id).or_default().push(format!("{place} {shown}"));
            }
        }
        labels = named.into_iter().map(|(id, places)| (id, label(places))).collect();
    }
    let mut shape = Shape::new();
    for (table, row) in &rows {
        shape.entry((*table).to_owned()).or_default().push(labelled(row, &labels).to_string());
    }
    for rows in shape.values_mut() {
        rows.sort();
    }
    shape
}

fn differ_nowhere(route: &str, without: &Shape, with: &Shape) {
    let none = Vec::new();
    let mut differ = Vec::new();
    for table in without.keys().chain(with.keys()).collect::<BTreeSet<_>>() {
        let (rows, other) = (without.get(table).unwrap_or(&none), with.get(table).unwrap_or(&none));
        if rows != other {
            let lost: Vec<_> = rows.iter().filter(|row| !other.contains(row)).take(2).collect();
            let found: Vec<_> = other.iter().filter(|row| !rows.contains(row)).take(2).collect();
            differ.push(format!("{table} without further fields: {lost:?}, with them: {found:?}"));
        }
    }
    assert!(differ.is_empty(), "{route}: {differ:#?}");
}

fn label(mut places: Vec<String>) -> u64 {
    places.sort();
    let mut hasher = DefaultHasher::new();
    places.hash(&mut hasher);
    hasher.finish()
}

/// The ids in a value, and where they are.
fn ids(value: &Value, place: &str) -> Vec<(String, Uuid)> {
    match value {
        Value::Array(values) => values.iter().flat_map(|value| ids(value, place)).collect(),
        Value::Object(values) => {
            values.iter().flat_map(|(name, value)| ids(value, &format!("{place}.{name}"))).collect()
        }
        value => id(value).map(|id| (place.to_owned(), id)).into_iter().collect(),
    }
}

fn id(value: &Value) -> Option<Uuid> {
    value.as_str().filter(|text| text.len() == 36)?.parse().ok()
}

/// A value with labels for ids.
fn labelled(value: &Value, labels: &HashMap<Uuid, u64>) -> Value {
    match value {
        Value::Array(values) => values.iter().map(|value| labelled(value, labels)).collect(),
        Value::Object(values) => {
            let values = values.iter().map(|(name, value)| (name.clone(), labelled(value, labels)));
            Value::Object(values.collect())
        }
        value => id(value).map_or_else(|| value.clone(), |id| labels.get(&id).copied().unwrap_or_default().into()),
    }
}

/// A value without what is another one each time: of a time the day is kept, counted from today.
fn known(value: Value, now: DateTime<Utc>) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| known(value, now)).collect(),
        Value::Object(mut values) => {
            // Worked out of an id, or chosen by chance.
            values.retain(|name, _| name != "bucket" && name != "key_id");
            Value::Object(values.into_iter().map(|(name, value)| (name, known(value, now))).collect())
        }
        // A record of a change is JSON; what else is bytes is sealed, or a digest.
        Value::String(text) if text.starts_with("\\x") => {
            let bytes = hex::decode(&text[2..]).unwrap();
            serde_json::from_slice::<Value>(&bytes)
                .ok()
                .filter(Value::is_object)
                .map_or("bytes".into(), |body| known(body, now))
        }
        Value::String(text) => match text.parse::<DateTime<Utc>>() {
            Ok(at) => format!("day {}", ((at - now).num_hours() + 12).div_euclid(24)).into(),
            Err(_) if text.parse::<Uuid>().is_ok() => text.into(),
            Err(_) => words(&text).into(),
        },
        value => value,
    }
}

/// A text without its long words: ids, digests and what is sealed.
fn words(text: &str) -> String {
    let is_of_word = |char: char| char.is_ascii_alphanumeric() || "_-+/=$.".contains(char);
    text.split_inclusive(|char| !is_of_word(char)).map(|word| if word.len() > 24 { "…" } else { word }).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn fields_that_no_form_has_change_nothing_on_any_route(pool: PgPool) {
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I', c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
             and c.relname <> '_sqlx_migrations'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let more = more(&pool).await;
    let (_, without) = sent(&App::new(&pool).await, &Vec::new()).await;
    let empty = format!("truncate {} restart identity cascade", tables.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(empty)).execute(&pool).await.unwrap();
    let app = App::new(&pool).await;
    let (person, with) = sent(&app, &more).await;
    for ((route, status, without), (_, with_status, with)) in without.iter().zip(&with) {
        assert_eq!(status, with_status, "{route}");
        // What is wrong is easier to see without ids.
        for rounds in [0, ROUNDS] {
            differ_nowhere(route, &shape(without, rounds), &shape(with, rounds));
        }
    }
    // What makes this test one that can fail: another role, person or time, or a word more is seen.
    let before = shape(&everything(&pool).await, ROUNDS);
    for change in [
        "update gateway_tokens set expires_at = expires_at + interval '1 day'",
        "update gateway_tokens set issued_by = '00000000-0000-0000-0000-000000000000'",
        "update gateway_tokens set title = title || ' canary'",
    ] {
        app.in_tenant(&person, change).await;
        let after = shape(&everything(&pool).await, ROUNDS);
        assert!(before["gateway_tokens"] != after["gateway_tokens"], "{change}");
    }
}
