package signals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// prometheusAnswer bounds an answer: one number needs little.
const prometheusAnswer = 1 << 20

// PrometheusCheck reads one number by an instant query of Prometheus' HTTP API, or of what speaks it (Thanos, Mimir, VictoriaMetrics).
type PrometheusCheck struct {
	name   string
	url    *url.URL
	every  time.Duration
	client *http.Client
}

// NewPrometheusCheck returns a check of the given name. The base URL is the one below which /api/v1/query lies. The error is one
// line, "why; what to write".
func NewPrometheusCheck(name, baseURL, query string, every time.Duration) (*PrometheusCheck, error) {
	u, err := plainURL(baseURL)
	if err != nil {
		return nil, err
	}
	if query == "" {
		return nil, errors.New("has no query; write one that gives one number")
	}
	if u.Path == "" {
		u.Path = "/" // else the joined path begins without one
	}
	u = u.JoinPath("api/v1/query")
	q := u.Query()
	q.Set("query", query)
	u.RawQuery = q.Encode()
	return &PrometheusCheck{name: name, url: u, every: every, client: newClient()}, nil
}

// Name implements [Source].
func (c *PrometheusCheck) Name() string { return c.name }

// Every implements [Source].
func (c *PrometheusCheck) Every() time.Duration { return c.every }

// Read implements [Source].
func (c *PrometheusCheck) Read(ctx context.Context) []throttle.Reading {
	r := throttle.Reading{Signal: c.name}
	body := func(resp *http.Response) (err error) {
		r.Value, err = prometheusValue(resp)
		return err
	}
	if err := get(ctx, c.client, c.url, body); err != nil {
		r.Err = fmt.Errorf("check %s of Prometheus: %w", c.name, err)
	}
	return []throttle.Reading{r}
}

// prometheusValue takes the one number out of an answer: a scalar, or a vector of one element.
func prometheusValue(resp *http.Response) (float64, error) {
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	err := json.NewDecoder(io.LimitReader(resp.Body, prometheusAnswer)).Decode(&answer)
	switch {
	case err == nil && answer.Status == "error":
		return 0, fmt.Errorf("the query fails: %s", plain(errors.New(answer.Error)))
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("answered %d", resp.StatusCode)
	case err != nil || answer.Status != "success":
		return 0, errors.New("the answer is not one of Prometheus' query API")
	}
	var sample [2]any // the time, and the value as a text
	switch answer.Data.ResultType {
	case "scalar":
		err = json.Unmarshal(answer.Data.Result, &sample)
	case "vector":
		var vector []struct {
			Value [2]any `json:"value"`
		}
		if err = json.Unmarshal(answer.Data.Result, &vector); err == nil && len(vector) != 1 {
			return 0, fmt.Errorf("the query has %d results; write one that has exactly one, as with sum() or max()", len(vector))
		}
		if err == nil {
			sample = vector[0].Value
		}
	default:
		return 0, fmt.Errorf("the query gives a %s; write one that gives a scalar or a vector", answer.Data.ResultType)
	}
	text, ok := sample[1].(string)
	if err != nil || !ok {
		return 0, errors.New("the answer is not one of Prometheus' query API")
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) {
		return 0, fmt.Errorf("the value %.20q is not a number", text)
	}
	return v, nil
}
