//! Applies batches of the metadata log, and holds transactions back until their end (KIP-868).

use ottla_protocol::MetadataRecord;

use crate::image::{Image, Provenance, ReplayError};

/// Follows the metadata log. Brokers publish [`Loader::image`] after each committed batch; it does
/// not show what is inside of an unfinished transaction.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    working: Image,
    /// The image before an open transaction.
    before: Option<Image>,
}

impl Loader {
    /// Goes on from an image, such as one read from a snapshot. Snapshots hold no open transaction.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { working: image, before: None }
    }

    /// Applies the records of a batch. `at` is the batch's last offset, its epoch and timestamp. For
    /// a control batch `records` is empty.
    ///
    /// # Errors
    /// A record that does not fit. What was applied of the batch stays; go on with a copy made
    /// before, or not at all.
    pub fn apply_batch<'a>(
        &mut self,
        at: Provenance,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<(), ReplayError> {
        for record in records {
            self.apply(record)?;
        }
        self.working.set_provenance(at);
        if let Some(before) = &mut self.before {
            before.set_provenance(at);
        }
        Ok(())
    }

    /// The newest state that may be shown.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.before.as_ref().unwrap_or(&self.working)
    }

    /// The newest state, open transaction included: what the controller decides by.
    #[must_use]
    pub fn working(&self) -> &Image {
        &self.working
    }

    /// Whether a transaction is open. A snapshot may only be taken when none is.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.before.is_some()
    }

    fn apply(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match (record, self.before.take()) {
            (MetadataRecord::BeginTransaction(_), None) => self.before = Some(self.working.clone()),
            (MetadataRecord::EndTransaction(_), Some(_)) => {}
            (MetadataRecord::AbortTransaction(_), Some(before)) => self.working = before,
            (
                MetadataRecord::BeginTransaction(_)
                | MetadataRecord::EndTransaction(_)
                | MetadataRecord::AbortTransaction(_),
                before,
            ) => {
                self.before = before;
                return Err(ReplayError::MisplacedMarker(crate::record::record_name(record)));
            }
            (_, before) => {
                self.before = before;
                self.working.apply(record)?;
            }
        }
        Ok(())
    }
}
