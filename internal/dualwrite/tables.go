package dualwrite

import (
	"fmt"
	"slices"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/statement"
)

// tableTriggers are those of a new table: AFTER triggers that carry the row over by its key. They read the row as it is when they run, not
// as their event saw it: another trigger may have changed it again, and its own event has come first then. So the outcome does not depend
// on the order of events, and two rows may swap their keys.
//
// Each acts only where the two sides disagree, so that what one writes is nothing to do for the other: that ends recursion without a flag
// or a look at the depth of triggers, which would take what an application's own trigger writes for an echo. Two sessions that write both
// sides of one row in opposite order can deadlock, as with any two tables.
//
// The functions run with their owner's rights: a writer of the old table need not have any on the new one, and one who had none would have
// its writes fail. Nobody else may call them.
func (p Pair) tableTriggers(d Direction, in inspection) []trigger {
	f := function{table: p.Source, name: p.object("", ""), definer: true, pins: pins(in), body: p.carry(d)}
	on := func(t catalog.Table, f function, suffix string, watched []string) []trigger {
		name := "00_"
		return []trigger{
			{table: t, name: p.object(name, suffix+"_w"), timing: "AFTER", events: []string{"INSERT", "DELETE"}, function: f},
			{table: t, name: p.object(name, suffix+"_u"), timing: "AFTER", events: []string{"UPDATE"}, watched: watched, function: f},
		}
	}
	ts := on(p.Source, f, "", watch(p.Source, in.forward.whole, in.forward.reads, p.kept(), p.Link))
	if d == Both && len(p.Old) > 0 {
		b := function{table: *p.Target, name: p.object("", "_back"), definer: true, pins: pins(in), body: p.carryBack()}
		ts = append(ts, on(*p.Target, b, "_back", watch(*p.Target, in.backward.whole, in.backward.reads, names(p.New)))...)
	}
	return ts
}

// keyed is the columns that identify the new row, and the rest.
func (p Pair) keyed() (key []string, rest []Column) {
	for _, c := range p.New {
		if !slices.Contains(p.Key, c.Name) {
			rest = append(rest, c)
		}
	}
	return p.Key, rest
}

// shape writes one expression of a list. What is compared is cast to its column's type; what is written is not, for a cast cuts a text that
// is too long where the column refuses it.
type shape func(c Column, x string) string

// followed is one old row as the new row that it should be.
func (p Pair) followed(record string, key []string, as shape) string {
	return fmt.Sprintf("SELECT %s FROM %s AS %s WHERE %s",
		expressions(p.New, as), p.Source, alias(p.Source), equal(alias(p.Source), p.Link, record, key))
}

// preceded is one new row as the old columns that it should have.
func (p Pair) preceded(record string, recordKey []string, as shape) string {
	key, _ := p.keyed()
	return fmt.Sprintf("SELECT %s FROM %s AS %s WHERE %s",
		expressions(p.Old, as), p.Target, alias(*p.Target), equal(alias(*p.Target), key, record, recordKey))
}

func (p Pair) carry(d Direction) string {
	key, rest := p.keyed()
	resolve := "NOTHING"
	if len(rest) > 0 {
		resolve = "UPDATE SET "
		for i, c := range names(rest) {
			if i > 0 {
				resolve += ", "
			}
			resolve += statement.Quote(c) + " = EXCLUDED." + statement.Quote(c)
		}
		resolve += "\n            WHERE " + differs(row("backfleet_t", names(rest)), row("EXCLUDED", names(rest)))
	}
	agreed := ""
	if d == Both && len(p.Old) > 0 {
		agreed = fmt.Sprintf(`    IF EXISTS (SELECT FROM (%s) AS backfleet_b, %s AS backfleet_s
                WHERE %s AND %s) THEN
        RETURN NULL; -- old says what new says
    END IF;
`, p.preceded("NEW", p.Link, cast), p.Source, equal("backfleet_s", p.Link, "NEW", p.Link), same(row("backfleet_s", names(p.Old)), row("backfleet_b", names(p.Old))))
	}
	return fmt.Sprintf(`
#variable_conflict use_column
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM %[1]s AS backfleet_t
         WHERE %[2]s AND NOT EXISTS (SELECT FROM %[3]s AS backfleet_s WHERE %[4]s);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
%[5]s    INSERT INTO %[1]s AS backfleet_t (%[6]s) OVERRIDING SYSTEM VALUE
        %[7]s
        ON CONFLICT (%[8]s) DO %[9]s;
    RETURN NULL;
END `, p.Target, equal("backfleet_t", key, "OLD", p.Link), p.Source, equal("backfleet_s", p.Link, "OLD", p.Link),
		agreed, quoted("", names(p.New)), p.followed("NEW", p.Link, bare), quoted("", key), resolve)
}

// carryBack carries the new row to the old one. Old rows are made and deleted only where backward fills the old table's key: else a row of
// the new table is a part of an old one, which must not go with it.
func (p Pair) carryBack() string {
	key, _ := p.keyed()
	whole := true
	for _, k := range p.Link {
		whole = whole && slices.Contains(names(p.Old), k)
	}
	var rest []Column
	for _, c := range p.Old {
		if !slices.Contains(p.Link, c.Name) {
			rest = append(rest, c)
		}
	}
	del, ins := "", ""
	if whole {
		del = fmt.Sprintf(`        DELETE FROM %s AS backfleet_s
         WHERE %s AND NOT EXISTS (SELECT FROM %s AS backfleet_t WHERE %s);
`, p.Source, equal("backfleet_s", p.Link, "OLD", key), p.Target, equal("backfleet_t", key, "OLD", key))
		ins = fmt.Sprintf(`    INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE
        %s
        ON CONFLICT (%s) DO NOTHING;
`, p.Source, quoted("", names(p.Old)), p.preceded("NEW", key, bare), quoted("", p.Link))
	}
	if del == "" {
		del = "        NULL; -- the old row has more than this one\n"
	}
	update := ""
	if len(rest) > 0 {
		set, values := "", make([]string, len(rest))
		for i, c := range rest {
			if i > 0 {
				set += ", "
			}
			set += statement.Quote(c.Name) + " = backfleet_b." + statement.Quote(c.Name)
			values[i] = "CAST(backfleet_b." + statement.Quote(c.Name) + " AS " + c.Type + ")"
		}
		update = fmt.Sprintf(`    UPDATE %s AS backfleet_s SET %s
      FROM (%s) AS backfleet_b
     WHERE %s AND %s;
`, p.Source, set, p.preceded("NEW", key, named), equal("backfleet_s", p.Link, "NEW", key),
			differs(row("backfleet_s", names(rest)), record(values)))
	}
	return fmt.Sprintf(`
#variable_conflict use_column
BEGIN
    IF TG_OP <> 'INSERT' THEN
%[1]s    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM (%[2]s) AS backfleet_f, %[3]s AS backfleet_t
                WHERE %[4]s AND %[5]s) THEN
        RETURN NULL; -- new says what old says
    END IF;
%[6]s%[7]s    RETURN NULL;
END `, del, p.followed("NEW", key, cast), p.Target,
		equal("backfleet_t", key, "NEW", key), same(row("backfleet_t", names(p.New)), row("backfleet_f", names(p.New))), ins, update)
}
