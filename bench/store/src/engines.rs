//! The engines, each as the hub would use it.

use std::path::Path;

use durable::objects::{Batch, Log, Settings};
use durable::os::OsFs;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use rusqlite::{Connection, OptionalExtension};

type Record = (Vec<u8>, Vec<u8>);

pub trait Store {
    fn open(dir: &Path) -> Self;
    /// Visible to readers and to the next process when it returns; durable if so asked.
    fn commit(&mut self, batch: &[Record], durable: bool);
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    fn close(self);
}

pub struct Own(Log<OsFs>);

impl Store for Own {
    fn open(dir: &Path) -> Own {
        // As `keep` where each commit is flushed, as `cache` where few are.
        let cache = dir.ends_with("many");
        let mut settings = if cache { Settings::cache(1) } else { Settings::keep(1) };
        if let Ok(room) = std::env::var("STORE_ROOM") {
            settings.room = room.parse().expect("bytes of zeros ahead");
        }
        Own(Log::open(OsFs, dir, settings).unwrap().log)
    }

    fn commit(&mut self, batch: &[Record], durable: bool) {
        let bytes: usize = batch.iter().map(|(_, value)| value.len()).sum();
        let batch =
            batch.iter().fold(Batch::new(), |batch, (key, value)| batch.put(key.clone(), value.clone()));
        self.0.append(&batch).unwrap();
        if durable {
            self.0.flush().unwrap();
        }
        self.0.tidy(bytes * 2).unwrap();
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).unwrap()
    }

    fn close(self) {
        self.0.close().unwrap();
    }
}

pub struct Redb(Database);

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");

impl Store for Redb {
    fn open(dir: &Path) -> Redb {
        std::fs::create_dir_all(dir).unwrap();
        Redb(Database::builder().set_cache_size(256 * 1024).create(dir.join("redb")).unwrap())
    }

    fn commit(&mut self, batch: &[Record], durable: bool) {
        let mut write = self.0.begin_write().unwrap();
        write.set_durability(if durable { Durability::Immediate } else { Durability::None }).unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for (key, value) in batch {
                table.insert(&key[..], &value[..]).unwrap();
            }
        }
        write.commit().unwrap();
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let read = self.0.begin_read().unwrap();
        let table = read.open_table(TABLE).unwrap();
        table.get(key).unwrap().map(|value| value.value().to_vec())
    }

    fn close(self) {}
}

pub struct Sqlite(Connection);

impl Store for Sqlite {
    fn open(dir: &Path) -> Sqlite {
        std::fs::create_dir_all(dir).unwrap();
        let connection = Connection::open(dir.join("sqlite")).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA cache_size=-256;
                 CREATE TABLE IF NOT EXISTS objects (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID;",
            )
            .unwrap();
        Sqlite(connection)
    }

    fn commit(&mut self, batch: &[Record], durable: bool) {
        let level = if durable { "FULL" } else { "NORMAL" };
        self.0.execute_batch(&format!("PRAGMA synchronous={level}")).unwrap();
        let transaction = self.0.transaction().unwrap();
        for (key, value) in batch {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2)").unwrap();
            put.execute((key, value)).unwrap();
        }
        transaction.commit().unwrap();
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.0.query_row("SELECT value FROM objects WHERE key = ?1", [key], |row| row.get(0));
        found.optional().unwrap()
    }

    fn close(self) {}
}
