//! The flows that come with Fermata, in the binary.

use crate::flow::{Flow, FlowError};

/// The documents, as they are in `workflows/packs`. One more flow is one more line.
const DOCUMENTS: [&str; 4] = [
    include_str!("../packs/demo/publish.yaml"),
    include_str!("../packs/demo/dm.yaml"),
    include_str!("../packs/demo/http_publish.yaml"),
    include_str!("../packs/sora/generate.yaml"),
];

/// Reads and judges the flows that come with Fermata.
pub fn packs() -> Result<Vec<Flow>, FlowError> {
    DOCUMENTS.iter().map(|text| Flow::read(text)).collect()
}
