package contract

import _ "embed" // of the statements

var (
	//go:embed sql/tree.sql
	treeSQL string
	//go:embed sql/dependents.sql
	dependentsSQL string
	//go:embed sql/whole_rows.sql
	wholeRowsSQL string
	//go:embed sql/functions.sql
	functionsSQL string
	//go:embed sql/publications.sql
	publicationsSQL string
	//go:embed sql/grants.sql
	grantsSQL string
	//go:embed sql/sessions.sql
	sessionsSQL string
)

var (
	//go:embed sql/undo_columns.sql
	undoColumnsSQL string
	//go:embed sql/undo_objects.sql
	undoObjectsSQL string
	//go:embed sql/undo_grants.sql
	undoGrantsSQL string
	//go:embed sql/undo_table.sql
	undoTableSQL string
)
