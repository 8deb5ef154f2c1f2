use super::plan::Plan;
use super::report::Report;
pub async fn measure(_plan: &Plan, _report: &mut Report) -> anyhow::Result<()> {
    Ok(())
}
