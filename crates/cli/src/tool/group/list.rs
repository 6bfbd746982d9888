//! `ottla group list`.

use serde_json::json;

use crate::client::Cluster;
use crate::failure::Outcome;
use crate::output::Out;
use crate::tool::topic::whole;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A regular expression for the whole name
    pattern: Option<String>,
    /// Only groups in this state, such as Stable or Empty
    #[arg(short, long)]
    state: Option<String>,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let matches = whole(args.pattern.as_deref().unwrap_or(".*"))?;
    let groups = cluster.list_groups().await?;
    let rows = groups.iter().filter_map(|group| {
        let state = args.state.as_ref();
        let in_state = state.is_none_or(|state| group.group_state.eq_ignore_ascii_case(state));
        (in_state && matches.is_match(&group.group_id)).then(|| {
            json!({
                "group": &*group.group_id,
                "type": &*group.group_type,
                "protocol": &*group.protocol_type,
                "state": &*group.group_state,
            })
        })
    });
    out.rows(&["group", "type", "protocol", "state"], rows.collect())
}
