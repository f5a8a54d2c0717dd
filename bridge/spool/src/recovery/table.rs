//! What a checkpoint says of the log itself.

use std::collections::HashMap;

use super::SegmentBytes;
use crate::entry::{Entry, Location, SegmentRow};
use crate::error::OpenError;
use crate::survey::Survey;
use crate::vfs::Vfs;

/// The log's own tables of the checkpoint that replay starts from.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<SegmentRow>,
    pub(super) bodies: HashMap<u64, Location>,
    pub(super) parts: Vec<Vec<u8>>,
}

impl Table {
    pub(super) fn read<V: Vfs>(vfs: &V, survey: &Survey) -> Result<Table, OpenError> {
        let mut table = Table::default();
        let Some((begin, end)) = survey.checkpoint else { return Ok(table) };
        let mut bytes = SegmentBytes::default();
        let links =
            survey.chain.iter().filter(|link| link.batch.head.next() > begin && link.batch.head.first <= end);
        for link in links {
            let Some((codec, content)) = bytes.of(vfs, survey, link.segment)? else { continue };
            let rest = content.get(link.batch.at as usize..).unwrap_or_default();
            for (lsn, found) in (link.batch.head.first..).zip(codec.records(link.batch.at, rest)) {
                if lsn < begin || lsn > end {
                    continue;
                }
                match Entry::decode(&found.bytes) {
                    Some(Entry::CheckpointBegin { rows, .. }) => table.rows = rows,
                    Some(Entry::CheckpointBodies { bodies }) => table.bodies.extend(bodies),
                    Some(Entry::CheckpointPart(part)) => table.parts.push(part.to_vec()),
                    _ => {}
                }
            }
        }
        Ok(table)
    }
}
