//! Typed reads of the newest final state, and the form in which proofs leave.

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use serde_json::{Value, json};
use surety_ledger::{Key, Map};
use surety_primitives::api::{ProofKind, ProvenRow};
use surety_primitives::header::{FinalHeader, Header};
use surety_primitives::typed_data::Blob;

use super::Api;
use super::backend::{ReadFailure, ReadRows, RowAnswer};
use super::problem::{Kind, Problem, Result};

/// A proof is tried again so often when the state moved on under it.
const PROOF_TRIES: u32 = 20;
/// Between two tries.
const PROOF_PAUSE: Duration = Duration::from_millis(100);

/// A row with its proof, as it leaves.
#[derive(Debug, Serialize)]
pub(crate) struct RowView {
    #[serde(flatten)]
    row: ProvenRow,
    /// Name of its table, where there is a row.
    table: Option<&'static str>,
}

impl RowView {
    fn new(key: Key, answer: RowAnswer) -> Self {
        let tag = answer.value.as_ref().and_then(|value| value.first());
        let table = tag.and_then(|tag| surety_ledger::modules::TABLES.iter().find(|(number, _)| number == tag));
        let table = table.map(|(_, name)| *name);
        let kind = if answer.value.is_some() { ProofKind::Inclusion } else { ProofKind::Exclusion };
        let FinalHeader { header, path, finality } = answer.header;
        let value = answer.value.map(Blob);
        Self { row: ProvenRow { key, kind, value, proof: Blob(answer.proof), header, path, finality }, table }
    }
}

/// A record with further fields beside its own.
pub(crate) fn with(record: &impl Serialize, further: Value) -> Value {
    let mut record = json!(record);
    if let (Some(fields), Value::Object(further)) = (record.as_object_mut(), further) {
        fields.extend(further);
    }
    record
}

impl Api {
    /// Records of one table by id, all of one state.
    pub(crate) async fn get_many<K, V>(&self, table: Map<K, V>, ids: &[K]) -> Result<(Vec<Option<V>>, Header)>
    where
        K: BorshSerialize + BorshDeserialize,
        V: BorshDeserialize,
    {
        let keys: Vec<Key> = ids.iter().map(|id| table.key(id)).collect();
        let ReadRows { values, header } = self.backend.rows(&keys).await?;
        let records = values.iter().map(|value| value.as_deref().map(|value| record(table, value)).transpose());
        Ok((records.collect::<Result<_>>()?, header))
    }

    /// One record, and the header of the state that it was read from.
    pub(crate) async fn get<K, V>(&self, table: Map<K, V>, id: &K) -> Result<(Option<V>, Header)>
    where
        K: BorshSerialize + BorshDeserialize,
        V: BorshDeserialize,
    {
        let values = self.backend.rows(&[table.key(id)]).await?;
        let value = values.values.into_iter().next().flatten();
        Ok((value.map(|value| record(table, &value)).transpose()?, values.header))
    }

    /// One record that must be there.
    pub(crate) async fn need<K, V>(&self, table: Map<K, V>, id: &K, what: &str) -> Result<(V, Header)>
    where
        K: BorshSerialize + BorshDeserialize,
        V: BorshDeserialize,
    {
        let (found, header) = self.get(table, id).await?;
        Ok((found.ok_or_else(|| Problem::new(Kind::NotFound, format!("there is no such {what}")))?, header))
    }

    /// A row with its proof.
    pub(crate) async fn prove(&self, key: Key) -> Result<RowView> {
        for _ in 0..PROOF_TRIES {
            match self.backend.row(&key).await {
                Ok(row) => return Ok(RowView::new(key, row)),
                Err(ReadFailure::NoCertificate) => tokio::time::sleep(PROOF_PAUSE).await,
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(ReadFailure::NoCertificate.into())
    }

    /// The proof, if it was asked for.
    pub(crate) async fn prove_if(&self, asked: bool, key: Key) -> Result<Option<RowView>> {
        match asked {
            true => self.prove(key).await.map(Some),
            false => Ok(None),
        }
    }
}

fn record<K: BorshDeserialize, V: BorshDeserialize>(table: Map<K, V>, value: &[u8]) -> Result<V> {
    table.read_row(value).map(|(_, record)| record).ok_or_else(|| {
        tracing::error!(table = table.label().1, "a row cannot be read");
        Problem::new(Kind::Internal, "a row cannot be read")
    })
}
