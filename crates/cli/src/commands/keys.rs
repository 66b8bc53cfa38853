//! `surety keys`: an encrypted keystore (web3 secret storage, version 3).

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use surety_client::Keystore;
use surety_client::wallet::Cost;
use surety_primitives::wallet::AccountKey;
use zeroize::Zeroizing;

use crate::output::Output;
use crate::settings::{KEYSTORE, password};

/// Keys that no other program needs to know; the files are what other wallets write and read.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key.
    New(Store),
    /// List the accounts.
    List {
        /// Folder of the encrypted keys.
        #[arg(long, env = "SURETY_KEYSTORE", default_value = KEYSTORE)]
        keystore: PathBuf,
    },
    /// Take over a key: a keystore file of another wallet, or 32 bytes of hex in a file.
    Import {
        #[command(flatten)]
        store: Store,
        /// The file.
        file: PathBuf,
    },
}

/// Where keys lie, and what opens them.
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    /// Folder of the encrypted keys.
    #[arg(long, env = "SURETY_KEYSTORE", default_value = KEYSTORE)]
    keystore: PathBuf,
    /// File with the password; its first line counts [default: SURETY_PASSWORD].
    #[arg(long, env = "SURETY_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

impl Store {
    fn open(&self) -> Result<(Keystore, Zeroizing<String>)> {
        Ok((Keystore::open(&self.keystore, Cost::default())?, password(self.password_file.as_deref())?))
    }
}

pub(crate) fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::New(store) => {
            let (keys, password) = store.open()?;
            let address = keys.create(&password)?.address();
            output.result(&json!({"address": address}), || address.to_string())
        }
        Command::List { keystore } => {
            let accounts = Keystore::open(keystore, Cost::default())?.list()?;
            output.result(&json!({"accounts": accounts}), || {
                accounts.iter().map(|address| format!("{address}\n")).collect()
            })
        }
        Command::Import { store, file } => {
            let (keys, password) = store.open()?;
            let text = Zeroizing::new(
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
            );
            let address = match raw_key(&text) {
                Some(key) => {
                    keys.import(&key, &password)?;
                    key.address()
                }
                None => keys.import_file(&file, &password)?,
            };
            output.result(&json!({"address": address}), || address.to_string())
        }
    }
}

fn raw_key(text: &str) -> Option<AccountKey> {
    let mut secret = Zeroizing::new([0; 32]);
    const_hex::decode_to_slice(text.trim(), secret.as_mut_slice()).ok()?;
    AccountKey::from_bytes(*secret).ok()
}
