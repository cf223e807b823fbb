//! Migrations go forward and only add (M-042), and one that has landed never changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::root;

/// The SHA-256 of every migration that has landed, as `sha256sum` writes it.
const LANDED: &str = "tests/tests/house/migrations.sha256";
/// Ends a line that takes something away on purpose, with the reason behind it.
const EXCEPTION: &str = "-- exception:";
/// The shortest reason that says anything.
const REASON: usize = 12;

/// Every migration by its path from the root, with its bytes.
fn migrations() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join("migrations")).expect("there are migrations");
    let paths = entries.flatten().map(|entry| entry.path());
    let sql = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    sql.map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (format!("migrations/{name}"), std::fs::read_to_string(&path).expect("a migration can be read"))
    })
    .collect()
}

/// A word of SQL in lower case, with the line that it stands on; `;` is a word of its own. What is
/// in strings counts too: functions execute it.
fn words(sql: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut in_comment = false;
    for (n, line) in sql.lines().enumerate() {
        let line = line.split("--").next().unwrap_or_default();
        let mut code = String::new();
        for part in line.split_inclusive("*/") {
            let (before, after) = part.split_once("/*").unwrap_or((part, ""));
            if !in_comment {
                code.push_str(before);
                in_comment = part.contains("/*");
            }
            in_comment &= !(after.ends_with("*/") || part.ends_with("*/"));
        }
        let spaced = code.replace(';', " ; ").to_lowercase();
        let found =
            spaced.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ';'))).filter(|it| !it.is_empty());
        words.extend(found.map(|word| (n + 1, word.to_owned())));
    }
    words
}

/// What in a migration takes something away: the line and the words.
fn takings(sql: &str) -> Vec<(usize, String)> {
    let words = words(sql);
    let word = |n: usize| words.get(n).map_or("", |(_, word)| word.as_str());
    let mut found = Vec::new();
    let mut in_alter_table = false;
    for (n, (line, at)) in words.iter().enumerate() {
        match at.as_str() {
            ";" => in_alter_table = false,
            "alter" => in_alter_table |= word(n + 1) == "table",
            _ => {}
        }
        let alters_type = || (word(n + 3) == "type") || (word(n + 3) == "set" && word(n + 4) == "data");
        // An event of a trigger is no statement.
        let of_trigger = || n > 0 && matches!(word(n - 1), "before" | "after" | "or");
        let kept = ["constraint", "default", "not", "expression", "identity"];
        let taken = match at.as_str() {
            "drop" if in_alter_table => !kept.contains(&word(n + 1)),
            "drop" => matches!(word(n + 1), "table" | "column" | "schema" | "database"),
            "truncate" => !of_trigger(),
            "alter" => word(n + 1) == "column" && alters_type(),
            "rename" => in_alter_table,
            _ => false,
        };
        if taken {
            found.push((*line, format!("{at} {} {}", word(n + 1), word(n + 2))));
        }
    }
    found
}

fn is_excepted(sql: &str, line: usize) -> bool {
    let text = sql.lines().nth(line - 1).unwrap_or_default();
    text.split_once(EXCEPTION).is_some_and(|(_, reason)| reason.trim().len() >= REASON)
}

/// What takes something away without saying why.
fn unexplained(sql: &str) -> Vec<(usize, String)> {
    takings(sql).into_iter().filter(|(line, _)| !is_excepted(sql, *line)).collect()
}

/// The list of what has landed with what is new, or what is wrong.
fn landed(list: &str, files: &BTreeMap<String, String>) -> Result<String, String> {
    let known: BTreeMap<&str, &str> =
        list.lines().filter_map(|line| line.split_once("  ").map(|(hash, name)| (name, hash))).collect();
    for (name, hash) in &known {
        match files.get(*name) {
            None => return Err(format!("{name} has landed and is gone")),
            Some(now) if now != hash => return Err(format!("{name} has landed and was changed; add a new migration")),
            Some(_) => {}
        }
    }
    let newest = known.keys().next_back().copied().unwrap_or_default();
    let mut list = list.to_owned();
    for (name, hash) in files.iter().filter(|(name, _)| !known.contains_key(name.as_str())) {
        if name.as_str() < newest {
            return Err(format!("{name} stands before {newest}, which has landed; give it a higher number"));
        }
        let _ = writeln!(list, "{hash}  {name}");
    }
    Ok(list)
}

#[test]
fn migrations_only_add() {
    for (name, sql) in migrations() {
        let found = unexplained(&sql);
        assert!(found.is_empty(), "{name} takes away {found:?}; end the line with `{EXCEPTION} <why>` if it must");
    }
}

#[test]
fn a_landed_migration_never_changes() {
    let hash = |sql: &String| hex::encode(Sha256::digest(sql.as_bytes()));
    let files = migrations().iter().map(|(name, sql)| (name.clone(), hash(sql))).collect();
    let path = root().join(LANDED);
    let list = std::fs::read_to_string(&path).unwrap_or_default();
    let wanted = landed(&list, &files).unwrap_or_else(|why| panic!("{why}"));
    if std::env::var_os("FERMATA_UPDATE").is_some() {
        std::fs::write(&path, &wanted).expect("the list can be written");
    } else {
        assert_eq!(list, wanted, "{LANDED} lacks a migration: run the tests with FERMATA_UPDATE=1");
    }
}

#[test]
fn what_takes_away_is_recognised_however_it_is_written() {
    for sql in [
        "drop table run;",
        "DROP\n  TABLE run;",
        "alter table run drop column kind;",
        "alter table run drop kind;",
        "alter table run add a int, drop b;",
        "alter table run alter column kind type int;",
        "alter table run\n  alter column kind set data type int;",
        "alter table run rename to old;",
        "truncate run;",
        "begin truncate run; end",
        "execute format('drop table %I', name);",
        "/* harmless */ drop table run;",
        "drop table run; -- exception: no",
    ] {
        assert_eq!(unexplained(sql).len(), 1, "{sql}");
    }
    for sql in [
        "create table run (id uuid);",
        "-- drop table run;",
        "/* drop\n table run; */ select 1;",
        "create trigger t before truncate on audit execute function f();",
        "alter table run drop constraint c, alter column kind drop not null;",
        "alter table run add column type text;",
        "drop function f();",
        "execute format('drop table %I', name); -- exception: retention of a partition whose class has expired",
    ] {
        assert_eq!(unexplained(sql), [], "{sql}");
    }
}

#[test]
fn the_list_of_landed_migrations_only_grows() {
    let files = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, h)| ((*n).to_owned(), (*h).to_owned())).collect();
    let list = "aa  migrations/0001_a.sql\nbb  migrations/0002_b.sql\n";
    let (a, b) = (("migrations/0001_a.sql", "aa"), ("migrations/0002_b.sql", "bb"));
    assert_eq!(landed(list, &files(&[a, b])).as_deref(), Ok(list));
    let grown = landed(list, &files(&[a, b, ("migrations/0003_c.sql", "cc")])).unwrap_or_default();
    assert_eq!(grown, format!("{list}cc  migrations/0003_c.sql\n"));
    for broken in
        [files(&[a]), files(&[a, ("migrations/0002_b.sql", "b2")]), files(&[a, b, ("migrations/0001_b.sql", "cc")])]
    {
        assert!(landed(list, &broken).is_err(), "{broken:?}");
    }
}
