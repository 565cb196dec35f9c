package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/words"
)

func (a *app) tokenCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the API's tokens",
		Long: `Make, list and revoke tokens in the file that coordinators read with --api-tokens. It holds their SHA-256 sums only. They
read it anew when it changes, so nothing is restarted.

A viewer reads. An operator also pauses, resumes, cancels, sets limits, skips, retries, verifies and holds. An admin also plans and
submits, which runs SQL with the fleet's privileges, and approves.`,
		Example: `  backfleet token new olga --role operator --file /etc/backfleet/tokens
  backfleet token list --file /etc/backfleet/tokens
  backfleet token revoke olga --file /etc/backfleet/tokens`,
	}
	cmd.PersistentFlags().StringVar(&file, "file", "", "the tokens file")
	cmd.AddCommand(a.tokenNewCommand(&file), a.tokenListCommand(&file), a.tokenRevokeCommand(&file))
	return cmd
}

// tokenLine is one token as `token` shows it.
type tokenLine struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	Databases []string   `json:"databases,omitempty"` // none: all
	State     string     `json:"state"`
	Made      *time.Time `json:"made_at,omitempty"`
	Expires   *time.Time `json:"expires_at,omitempty"`
	Revoked   *time.Time `json:"revoked_at,omitempty"`
	Token     string     `json:"token,omitempty"` // only where it was just made
}

func lineOf(t api.Token, now time.Time) tokenLine {
	given := func(at time.Time) *time.Time {
		if at.IsZero() {
			return nil
		}
		return &at
	}
	return tokenLine{
		Name: t.Name, Role: t.Role.String(), Databases: t.Databases, State: t.State(now),
		Made: given(t.Made), Expires: given(t.Expires), Revoked: given(t.Revoked),
	}
}

func (a *app) tokenNewCommand(file *string) *cobra.Command {
	var role, expires string
	var dbs []string
	cmd := &cobra.Command{
		Use:   "new NAME --role ROLE --file FILE",
		Short: "Make a token and print it once",
		Long: `Make a token for a person or a tool, and print it once: only its SHA-256 sum is kept. NAME is what the audit log tells.
A name may have several tokens, so that one can be replaced before the old one is revoked. FILE is made, readable to its owner only, where
there is none; put a token into a file of mode 0600 too, and give that with --api-token-file.`,
		Example: `  backfleet token new olga --role operator --expires 90d --file /etc/backfleet/tokens
  (umask 077; backfleet token new ghost --role viewer --database main --file tokens > ghost.token)`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := needFile(*file); err != nil {
				return err
			}
			if err := api.CheckTokenName(args[0]); err != nil {
				return usage("%w", err)
			}
			r, err := api.ParseRole(role)
			if err != nil {
				return usage("role: %w", err)
			}
			for _, db := range dbs {
				if !job.ValidName(db) {
					return usage("database: %q is not a database's name; write a-z, 0-9 and -", db)
				}
			}
			end, err := moment(expires, a.now())
			if err != nil {
				return err
			}
			secret, t := api.NewToken(api.Identity{Name: args[0], Role: r, Databases: dbs, Person: true}, a.now(), end)
			err = api.ChangeTokenFile(*file, func(f *api.TokenFile) error {
				f.Add(t)
				return nil
			})
			if err != nil {
				return usage("%w", err)
			}
			line := lineOf(t, a.now())
			line.Token = secret
			return a.print(line, func(w io.Writer) { say(w, "%s", secret) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "viewer, operator or admin")
	f.StringSliceVar(&dbs, "database", nil, "a database that it may see and change; more than once for several (default: all)")
	f.StringVar(&expires, "expires", "", "when it ends: after 90d or 12h, or at 2027-01-31T00:00:00Z (default: never)")
	return cmd
}

func (a *app) tokenListCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:     "list --file FILE",
		Short:   "List the tokens of a file",
		Example: "  backfleet token list --file /etc/backfleet/tokens",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := needFile(*file); err != nil {
				return err
			}
			in, err := os.Open(*file)
			if err != nil {
				return usage("file: %w", err)
			}
			defer func() { _ = in.Close() }()
			read, err := api.ReadTokenFile(in)
			if err != nil {
				return usage("%w", err)
			}
			lines := []tokenLine{}
			for _, t := range read.Tokens() {
				lines = append(lines, lineOf(t, a.now()))
			}
			return a.print(lines, func(w io.Writer) { tokensText(w, lines) })
		},
	}
}

func tokensText(w io.Writer, lines []tokenLine) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(tw, "NAME\tROLE\tDATABASES\tSTATE\tMADE\tEXPIRES")
	on := func(at *time.Time, none string) string {
		if at == nil {
			return none
		}
		return at.UTC().Format(time.DateOnly)
	}
	for _, l := range lines {
		dbs := strings.Join(l.Databases, ",")
		if dbs == "" {
			dbs = "all"
		}
		say(tw, "%s\t%s\t%s\t%s\t%s\t%s", l.Name, l.Role, dbs, l.State, on(l.Made, "-"), on(l.Expires, "never"))
	}
	_ = tw.Flush()
}

func (a *app) tokenRevokeCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME --file FILE",
		Short:   "Revoke every token of a name",
		Long:    "Revoke every token of a name. The next request with one is refused; the line stays, so that it is known when.",
		Example: "  backfleet token revoke olga --file /etc/backfleet/tokens",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := needFile(*file); err != nil {
				return err
			}
			if _, err := os.Stat(*file); errors.Is(err, fs.ErrNotExist) {
				return usage("file: %w", err)
			}
			n := 0
			err := api.ChangeTokenFile(*file, func(f *api.TokenFile) error {
				if n = f.Revoke(args[0], a.now()); n == 0 {
					return fmt.Errorf("name: no token of %q is valid in %s; backfleet token list shows them", args[0], *file)
				}
				return nil
			})
			if err != nil {
				return usage("%w", err)
			}
			return a.print(map[string]any{"name": args[0], "revoked": n}, func(w io.Writer) { say(w, "%s of %s revoked", words.Plural(n, "token"), args[0]) })
		},
	}
}

func needFile(file string) error {
	if file == "" {
		return usage("file: is missing; give the tokens file that coordinators read with --api-tokens")
	}
	return nil
}

// moment reads when a token ends: 90d, 12h, or a time. Empty is never.
func moment(text string, now time.Time) (time.Time, error) {
	wrong := usage("expires: %q is not in the future; write 90d, 12h or 2027-01-31T00:00:00Z", text)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		length := text
		if days, ok := strings.CutSuffix(text, "d"); ok {
			n, err := strconv.ParseUint(days, 10, 16)
			if err != nil {
				return at, wrong
			}
			length = strconv.FormatUint(n*24, 10) + "h"
		}
		d, err := time.ParseDuration(length)
		if err != nil {
			return at, wrong
		}
		at = now.Add(d)
	}
	if !at.After(now) {
		return at, wrong
	}
	return at.UTC().Truncate(time.Second), nil
}
