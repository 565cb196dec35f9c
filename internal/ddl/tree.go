package ddl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// These are the parts of PostgreSQL's parse tree that the rules look at, as its JSON names them. What is not here is not decoded.

type rangeVar struct {
	Schema      string `json:"schemaname"`
	Name        string `json:"relname"`
	Inherit     bool   `json:"inh"` // false under ONLY
	Persistence string `json:"relpersistence"`
}

func (r rangeVar) name() Name { return Name{Schema: r.Schema, Name: r.Name} }

type text struct {
	String struct {
		Value string `json:"sval"`
	} `json:"String"`
}

func texts(list []text) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.String.Value
	}
	return out
}

// expression is a part of the tree that is only searched.
type expression = any

type typeName struct {
	Names       []text `json:"names"`
	Modifiers   []expression
	ArrayBounds []expression
}

// UnmarshalJSON is written out because the tree mixes both styles of name.
func (t *typeName) UnmarshalJSON(raw []byte) error {
	var in struct {
		Names   []text       `json:"names"`
		Typmods []expression `json:"typmods"`
		Bounds  []expression `json:"arrayBounds"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return err
	}
	*t = typeName{Names: in.Names, Modifiers: in.Typmods, ArrayBounds: in.Bounds}
	return nil
}

type columnDef struct {
	Name        string           `json:"colname"`
	Type        *typeName        `json:"typeName"`
	Constraints []constraintNode `json:"constraints"`
	Using       expression       `json:"raw_default"` // of ALTER COLUMN TYPE
	Location    int              `json:"location"`
}

type constraintNode struct {
	Constraint constraint `json:"Constraint"`
}

type constraint struct {
	Type       string     `json:"contype"`
	Name       string     `json:"conname"`
	NotValid   bool       `json:"skip_validation"`
	Expression expression `json:"raw_expr"`
	Generated  string     `json:"generated_when"`
	Keys       []text     `json:"keys"`
	Index      string     `json:"indexname"`
	Referenced rangeVar   `json:"pktable"`
	ForeignKey []text     `json:"fk_attrs"`
	Location   int        `json:"location"`
}

type definition struct {
	DefElem struct {
		Name      string     `json:"defname"`
		Namespace string     `json:"defnamespace"`
		Argument  expression `json:"arg"`
	} `json:"DefElem"`
}

type alterTable struct {
	Relation  rangeVar `json:"relation"`
	Object    string   `json:"objtype"`
	MissingOK bool     `json:"missing_ok"`
	Commands  []struct {
		Command command `json:"AlterTableCmd"`
	} `json:"cmds"`
}

type command struct {
	Type      string `json:"subtype"`
	Name      string `json:"name"`
	Behavior  string `json:"behavior"`
	MissingOK bool   `json:"missing_ok"`
	Def       struct {
		Column     *columnDef  `json:"ColumnDef"`
		Constraint *constraint `json:"Constraint"`
		Partition  *partition  `json:"PartitionCmd"`
		Relation   *rangeVar   `json:"RangeVar"`
		List       *struct {
			Items []definition `json:"items"`
		} `json:"List"`
	} `json:"def"`
}

type partition struct {
	Name       rangeVar `json:"name"`
	Concurrent bool     `json:"concurrent"`
	Bound      struct {
		Default bool `json:"is_default"`
	} `json:"bound"`
}

type createTable struct {
	Relation rangeVar `json:"relation"`
	Elements []struct {
		Column     *columnDef  `json:"ColumnDef"`
		Constraint *constraint `json:"Constraint"`
		Like       *struct {
			Relation rangeVar `json:"relation"`
		} `json:"TableLikeClause"`
	} `json:"tableElts"`
	Parents     []relationNode `json:"inhRelations"`
	Bound       *struct{}      `json:"partbound"`
	Partitioned *struct{}      `json:"partspec"`
	MissingOK   bool           `json:"if_not_exists"`
}

type relationNode struct {
	RangeVar rangeVar `json:"RangeVar"`
}

type createIndex struct {
	Name     string   `json:"idxname"`
	Relation rangeVar `json:"relation"`
	Columns  []struct {
		Element struct {
			Name string `json:"name"`
		} `json:"IndexElem"`
	} `json:"indexParams"`
	Where      expression `json:"whereClause"`
	Unique     bool       `json:"unique"`
	Concurrent bool       `json:"concurrent"`
	MissingOK  bool       `json:"if_not_exists"`
}

type drop struct {
	Objects []struct {
		List     *list     `json:"List"`
		String   *sval     `json:"String"`
		TypeName *typeName `json:"TypeName"`
		Function *struct {
			Name []text `json:"objname"`
		} `json:"ObjectWithArgs"`
	} `json:"objects"`
	Type       string `json:"removeType"`
	Behavior   string `json:"behavior"`
	MissingOK  bool   `json:"missing_ok"`
	Concurrent bool   `json:"concurrent"`
}

type sval struct {
	Value string `json:"sval"`
}

type list struct {
	Items []text `json:"items"`
}

// names are the dropped objects' names, each in its parts.
func (d drop) names() [][]string {
	var out [][]string
	for _, o := range d.Objects {
		switch {
		case o.List != nil:
			out = append(out, texts(o.List.Items))
		case o.TypeName != nil:
			out = append(out, texts(o.TypeName.Names))
		case o.Function != nil:
			out = append(out, texts(o.Function.Name))
		case o.String != nil:
			out = append(out, []string{o.String.Value})
		}
	}
	return out
}

type rename struct {
	Type         string    `json:"renameType"`
	RelationType string    `json:"relationType"`
	Relation     *rangeVar `json:"relation"`
	Old          string    `json:"subname"`
	New          string    `json:"newname"`
}

type setSchema struct {
	Type     string    `json:"objectType"`
	Relation *rangeVar `json:"relation"`
}

type createTrigger struct {
	Name       string    `json:"trigname"`
	Relation   rangeVar  `json:"relation"`
	Row        bool      `json:"row"`
	Replace    bool      `json:"replace"`
	Constraint bool      `json:"isconstraint"`
	From       *rangeVar `json:"constrrel"`
}

type comment struct {
	Type   string `json:"objtype"`
	Object struct {
		List *list `json:"List"`
	} `json:"object"`
}

type grant struct {
	Target  string         `json:"targtype"`
	Type    string         `json:"objtype"`
	Objects []relationNode `json:"objects"`
}

type vacuum struct {
	Options   []definition `json:"options"`
	Relations []struct {
		Vacuum struct {
			Relation rangeVar `json:"relation"`
		} `json:"VacuumRelation"`
	} `json:"rels"`
	IsVacuum bool `json:"is_vacuumcmd"`
}

type cluster struct {
	Relation *rangeVar `json:"relation"`
}

type reindex struct {
	Kind     string       `json:"kind"`
	Relation *rangeVar    `json:"relation"`
	Params   []definition `json:"params"`
}

type relations struct {
	Relations []relationNode `json:"relations"`
	Mode      int            `json:"mode"` // of LOCK TABLE
}

type refresh struct {
	Relation   rangeVar `json:"relation"`
	Concurrent bool     `json:"concurrent"`
	SkipData   bool     `json:"skipData"`
}

type createAs struct {
	Into struct {
		Relation rangeVar `json:"rel"`
		SkipData bool     `json:"skipData"`
	} `json:"into"`
	Type      string     `json:"objtype"`
	Query     expression `json:"query"`
	MissingOK bool       `json:"if_not_exists"`
}

type view struct {
	View    rangeVar   `json:"view"`
	Query   expression `json:"query"`
	Replace bool       `json:"replace"`
}

type policy struct {
	Name  string   `json:"policy_name"`
	Table rangeVar `json:"table"`
}

type statistics struct {
	Names     []text         `json:"defnames"`
	Relations []relationNode `json:"relations"`
	MissingOK bool           `json:"if_not_exists"`
}

type sequence struct {
	Sequence  rangeVar `json:"sequence"`
	MissingOK bool     `json:"if_not_exists"`
}

type named struct { // CREATE SCHEMA, EXTENSION, TYPE ... AS ENUM
	Schema    string `json:"schemaname"`
	Extension string `json:"extname"`
	Type      []text `json:"typeName"`
	MissingOK bool   `json:"if_not_exists"`
}

type createDomain struct {
	Name []text `json:"domainname"`
}

type createFunction struct {
	Name    []text `json:"funcname"`
	Replace bool   `json:"replace"`
}

type alterEnum struct {
	Type      []text `json:"typeName"`
	Old       string `json:"oldVal"` // of RENAME VALUE
	New       string `json:"newVal"`
	MissingOK bool   `json:"skipIfNewValExists"`
}

// unknown is a statement without a rule.
type unknown struct{ kind string }

// kinds are the statements that a rule speaks of.
var kinds = map[string]func() any{
	"AlterTableStmt": func() any { return new(alterTable) }, "CreateStmt": func() any { return new(createTable) },
	"IndexStmt": func() any { return new(createIndex) }, "DropStmt": func() any { return new(drop) }, "RenameStmt": func() any { return new(rename) },
	"AlterObjectSchemaStmt": func() any { return new(setSchema) }, "CreateTrigStmt": func() any { return new(createTrigger) },
	"CommentStmt": func() any { return new(comment) }, "GrantStmt": func() any { return new(grant) }, "VacuumStmt": func() any { return new(vacuum) },
	"ClusterStmt": func() any { return new(cluster) }, "ReindexStmt": func() any { return new(reindex) },
	"TruncateStmt": func() any { return new(relations) }, "LockStmt": func() any { return new(relations) },
	"RefreshMatViewStmt": func() any { return new(refresh) }, "CreateTableAsStmt": func() any { return new(createAs) },
	"ViewStmt": func() any { return new(view) }, "CreatePolicyStmt": func() any { return new(policy) },
	"CreateStatsStmt": func() any { return new(statistics) }, "CreateSeqStmt": func() any { return new(sequence) },
	"CreateSchemaStmt": func() any { return new(named) }, "CreateExtensionStmt": func() any { return new(named) },
	"CreateEnumStmt": func() any { return new(named) }, "CreateDomainStmt": func() any { return new(createDomain) },
	"CompositeTypeStmt":  func() any { return new(struct{}) },
	"CreateFunctionStmt": func() any { return new(createFunction) }, "AlterEnumStmt": func() any { return new(alterEnum) },
}

func decode(kind string, raw json.RawMessage) (any, error) {
	empty, ok := kinds[kind]
	if !ok {
		return unknown{kind}, nil
	}
	node := empty()
	if err := json.Unmarshal(raw, node); err != nil {
		return nil, fmt.Errorf("read the parse tree of a %s: %w", kind, err)
	}
	return node, nil
}

// walk calls visit for every object of a tree under the key that holds it.
func walk(tree expression, visit func(key string, object map[string]any)) {
	switch at := tree.(type) {
	case map[string]any:
		for key, value := range at {
			if object, ok := value.(map[string]any); ok {
				visit(key, object)
			}
			walk(value, visit)
		}
	case []any:
		for _, value := range at {
			walk(value, visit)
		}
	}
}

// nameOf joins the String nodes of a list such as a function's name.
func nameOf(list any) string {
	items, _ := list.([]any)
	var parts []string
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			if s, ok := m["String"].(map[string]any); ok {
				v, _ := s["sval"].(string)
				parts = append(parts, v)
			}
		}
	}
	return strings.Join(parts, ".")
}

// callsOf lists the functions and operators of an expression by the names that it writes, sorted.
func callsOf(e expression) (functions, operators []string) {
	walk(e, func(key string, object map[string]any) {
		switch key {
		case "FuncCall":
			functions = append(functions, nameOf(object["funcname"]))
		case "A_Expr":
			operators = append(operators, nameOf(object["name"]))
		}
	})
	slices.Sort(functions)
	slices.Sort(operators)
	return slices.Compact(functions), slices.Compact(operators)
}
