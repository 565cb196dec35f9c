package statement

// VacuumPace keeps a vacuum of ours from pressing on the disk as one without limits would: up to 200 MB/s of pages that it makes dirty, and
// whatever is in memory at full speed. Run it in the vacuum's session.
const VacuumPace = "SELECT set_config('vacuum_cost_delay', '2', false), set_config('vacuum_cost_limit', '1000', false), set_config('vacuum_cost_page_hit', '0', false)," +
	" set_config('application_name', 'backfleet vacuum', false), set_config('statement_timeout', '0', false)"

// Vacuum frees the dead rows of a relation, by its qualified and quoted name, without a wait for its lock: where another vacuum has it this
// one does nothing. It takes no exclusive lock: the file is not cut short, which the rows to come would only extend again.
func Vacuum(relation string) string {
	return "VACUUM (SKIP_LOCKED, INDEX_CLEANUP AUTO, TRUNCATE false, PARALLEL 0) " + relation
}
