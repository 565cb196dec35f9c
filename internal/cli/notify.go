package cli

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/backfleet/backfleet/coordinator"
	"github.com/backfleet/backfleet/internal/notify"
)

// The variables that say whom a coordinator tells. Each may also be a file's path, with _FILE behind its name: an address of Slack is a
// secret itself.
const (
	webhookVariable = "BACKFLEET_NOTIFY_WEBHOOK"
	secretVariable  = "BACKFLEET_NOTIFY_WEBHOOK_SECRET"
	slackVariable   = "BACKFLEET_NOTIFY_SLACK"
)

// notifyFlags say when people are told. Whom is said by the environment.
type notifyFlags struct {
	heldAfter time.Duration
}

func (f *notifyFlags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&f.heldAfter, "notify-held-after", 15*time.Minute, "tell people when batches have stood still for so long, 0 never; whom is said by "+
		webhookVariable+" with "+secretVariable+", and "+slackVariable+", or by the file that such a variable with _FILE names")
}

// notifications reads whom a coordinator tells. link is where people look; empty: nowhere.
func (a *app) notifications(f notifyFlags, link string) (coordinator.Notifications, error) {
	n := coordinator.Notifications{HeldAfter: f.heldAfter, Link: link}
	if f.heldAfter < 0 {
		return n, usage("notify-held-after: %s is less than nothing; write 15m, or 0 for never", f.heldAfter)
	}
	given := map[string]string{}
	for _, variable := range []string{webhookVariable, secretVariable, slackVariable} {
		var err error
		if given[variable], err = a.secret(variable); err != nil {
			return n, err
		}
	}
	switch {
	case given[webhookVariable] == "" && given[secretVariable] != "":
		return n, usage("%s: is missing; give the address that %s is for", webhookVariable, secretVariable)
	case given[webhookVariable] != "":
		r, err := notify.Webhook(given[webhookVariable], given[secretVariable])
		if err != nil {
			return n, usage("%s, %s: %w", webhookVariable, secretVariable, err)
		}
		n.Receivers = append(n.Receivers, r)
	}
	if given[slackVariable] != "" {
		r, err := notify.Slack(given[slackVariable])
		if err != nil {
			return n, usage("%s: %w", slackVariable, err)
		}
		n.Receivers = append(n.Receivers, r)
	}
	return n, nil
}

// secret reads a variable of the environment, or the file that it names with _FILE behind its name.
func (a *app) secret(variable string) (string, error) {
	value, file := a.env(variable), a.env(variable+"_FILE")
	switch {
	case file == "":
		return strings.TrimSpace(value), nil
	case value != "":
		return "", usage("%s: is also given by %s_FILE; keep one", variable, variable)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", usage("%s_FILE: %w", variable, err)
	}
	return strings.TrimSpace(string(b)), nil
}
