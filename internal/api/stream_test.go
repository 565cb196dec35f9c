package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

// watcher reads a stream.
type watcher struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
}

func (b bundle) watch(t *testing.T, token, query string) watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.http.URL+"/v1/stream"+query, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", eventStream)
	got, err := b.http.Client().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() {
		cancel()
		_ = got.Body.Close()
	})
	lines := bufio.NewScanner(got.Body)
	lines.Buffer(nil, 1<<20)
	return watcher{t, got, lines}
}

// next reads the next event of a name.
func (w watcher) next(name string, into any) {
	w.t.Helper()
	is := false
	for w.lines.Scan() {
		switch line := w.lines.Text(); {
		case strings.HasPrefix(line, "event: "):
			is = line == "event: "+name
		case is && strings.HasPrefix(line, "data: "):
			require.NoError(w.t, json.Unmarshal([]byte(line[6:]), into))
			return
		}
	}
	w.t.Fatalf("the stream ended before an event %s: %v", name, w.lines.Err())
}

type seen = Frame

// A frame is put together from texts; they are what the document says.
func TestTheDocumentDescribesTheStream(t *testing.T) {
	b := setup(t)
	b.submit(t)
	t.Cleanup(b.server.EndStreams)
	_, _, doc := b.do(t, http.MethodGet, "/openapi.json", "", "")
	require.Contains(t, doc, eventStream)
	for _, schema := range []string{"Frame", "Hello", "DatabaseNow", "JobNow"} {
		require.Contains(t, doc, `"`+schema+`":{`)
	}
	_, _, body := b.do(t, http.MethodGet, "/v1/stream", "view-token", "")
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	var f Frame
	require.NoError(t, d.Decode(&f))
	require.False(t, f.At.IsZero())
	require.NotEmpty(t, f.Databases[0].Jobs)
}

func TestAStreamTellsTheFleet(t *testing.T) {
	b := setup(t)
	b.submit(t)
	t.Cleanup(b.server.EndStreams)
	w := b.watch(t, "op-token", "")
	require.Equal(t, "text/event-stream", w.answer.Header.Get("Content-Type"))
	var hello Hello
	w.next("hello", &hello)
	require.Equal(t, "olga", hello.Name)
	require.Equal(t, "operator", hello.Role)
	var f seen
	w.next("fleet", &f)
	require.Len(t, f.Databases, 2)
	require.True(t, f.Databases[0].Reachable)
	require.Equal(t, "norm", f.Databases[0].Jobs[0].Name)
	require.Equal(t, "c1", f.Databases[0].Throttle.Leader.Owner)
	b.main.mu.Lock()
	b.main.jobs[0].State, b.main.down = job.Complete, nil
	b.main.mu.Unlock()
	for len(f.Databases[0].Ended) == 0 {
		w.next("fleet", &f)
	}
	require.Empty(t, f.Databases[0].Jobs)

	code, kind, body := b.do(t, http.MethodGet, "/v1/stream", "view-token", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "application/json", kind, "who does not ask for events is answered once")
	require.NoError(t, json.Unmarshal([]byte(body), &f))
	require.Len(t, f.Databases, 2)

	code, _, body = b.do(t, http.MethodGet, "/v1/stream", "guessed", "")
	require.Equal(t, http.StatusUnauthorized, code, body)
	code, _, body = b.do(t, http.MethodGet, "/v1/stream?job=none", "view-token", "")
	require.Equal(t, http.StatusNotFound, code, body)
}

func TestAViewerSeesItsDatabasesOnly(t *testing.T) {
	f := frame{databases: []shownDatabase{{name: "audit", text: []byte(`{"name":"audit"}`)}, {name: "main", text: []byte(`{"name":"main"}`)}}}
	var all, one, none seen
	require.NoError(t, json.Unmarshal(f.text(Identity{}), &all))
	require.Len(t, all.Databases, 2)
	require.NoError(t, json.Unmarshal(f.text(Identity{Databases: []string{"main"}}), &one))
	require.Len(t, one.Databases, 1)
	require.Equal(t, "main", one.Databases[0].Name)
	require.NoError(t, json.Unmarshal(f.text(Identity{Databases: []string{}}), &none))
	require.Empty(t, none.Databases)
}

func TestATokenThatExpiresEndsItsStream(t *testing.T) {
	b := setup(t)
	t.Cleanup(b.server.EndStreams)
	var late atomic.Bool
	now := time.Now()
	for i := range b.server.Tokens.own {
		b.server.Tokens.own[i].Expires = now.Add(time.Hour)
	}
	b.server.Tokens.Now = func() time.Time {
		if late.Load() {
			return now.Add(2 * time.Hour)
		}
		return now
	}
	w := b.watch(t, "op-token", "")
	var f seen
	w.next("fleet", &f)
	late.Store(true)
	for w.lines.Scan() {
		require.NotContains(t, w.lines.Text(), "event: map")
	}
	require.NoError(t, w.lines.Err())
	code, _, body := b.do(t, http.MethodGet, "/v1/stream", "op-token", "")
	require.Equal(t, http.StatusUnauthorized, code, body)
	require.Contains(t, body, "expired")
}

func TestATokenWhoseRightsAreOthersComesAgain(t *testing.T) {
	b := setup(t)
	t.Cleanup(b.server.EndStreams)
	path := filepath.Join(t.TempDir(), "tokens")
	secret, token := NewToken(Identity{Name: "sara", Role: Viewer}, time.Now(), time.Time{})
	write := func() { require.NoError(t, os.WriteFile(path, []byte(token.String()+"\n"), 0o600)) }
	write()
	require.NoError(t, b.server.Tokens.Watch(path, zap.NewNop()))
	w := b.watch(t, secret, "")
	var f seen
	w.next("fleet", &f)
	require.Len(t, f.Databases, 2)
	token.Databases = []string{"main"}
	write()
	for w.lines.Scan() { // to its end
	}
	require.NoError(t, w.lines.Err())
	b.watch(t, secret, "").next("fleet", &f)
	require.Len(t, f.Databases, 1)
}

func TestOnlySoManyMayWatch(t *testing.T) {
	b := setup(t)
	b.server.streams = make(chan struct{}, 1)
	w := b.watch(t, "view-token", "")
	var f seen
	w.next("fleet", &f)
	late := b.watch(t, "view-token", "")
	require.Equal(t, http.StatusTooManyRequests, late.answer.StatusCode)
	require.NotEmpty(t, late.answer.Header.Get("Retry-After"))
	b.server.EndStreams()
	_, err := io.ReadAll(w.answer.Body)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(b.server.streams) == 0 }, 10*time.Second, time.Millisecond, "its place is free again")
}

func TestManyViewersCostOneReadingASecond(t *testing.T) {
	b := setup(t)
	b.submit(t)
	t.Cleanup(b.server.EndStreams)
	const viewers = 150
	var all sync.WaitGroup
	watchers := make([]watcher, viewers)
	for i := range watchers {
		watchers[i] = b.watch(t, "view-token", "?job=norm")
	}
	began, before := time.Now(), b.main.readings()
	for _, w := range watchers {
		all.Go(func() {
			var f seen
			var m job.RangeMap
			w.next("map", &m)
			for range 3 {
				w.next("fleet", &f)
			}
		})
	}
	all.Wait()
	jobs, maps := b.main.readings().jobs-before.jobs, b.main.readings().maps
	require.Equal(t, before.found, b.main.readings().found, "nobody looks its job up again")
	most := int(time.Since(began).Seconds()) + 2
	require.LessOrEqual(t, jobs, most, "the jobs were read as for one viewer")
	require.LessOrEqual(t, maps, most+1, "the map was read as for one viewer")
}

func TestNobodyLooksAndNothingIsRead(t *testing.T) {
	b := setup(t)
	t.Cleanup(b.server.EndStreams)
	frames, leave := b.server.hub.join()
	<-frames
	leave()
	b.server.hub.mu.Lock()
	require.Nil(t, b.server.hub.stop)
	b.server.hub.mu.Unlock()
	b.server.hub.running.Wait()
}

func TestASlowViewerMissesFramesAndHoldsNobody(t *testing.T) {
	h := newHub(nil)
	slow, leave := h.join()
	defer leave()
	defer h.close()
	for i := range 5 {
		h.send(frame{at: time.Unix(int64(i+1), 0).Add(time.Hour)})
	}
	require.Equal(t, int64(5+3600), (<-slow).at.Unix(), "the newest")
}

func TestADatabaseThatHangsHoldsUpNoOther(t *testing.T) {
	hangs := func(ctx context.Context) shownDatabase {
		<-ctx.Done()
		return shownDatabase{}
	}
	n := 0
	h := newHub([]followed{
		{unread: shownDatabase{text: []byte("not yet")}, read: hangs},
		{read: func(context.Context) shownDatabase { n++; return shownDatabase{text: []byte{byte('0' + n)}} }},
	})
	defer h.close()
	frames, leave := h.join()
	defer leave()
	began := time.Now()
	for range 3 {
		f := <-frames
		require.Equal(t, "not yet", string(f.databases[0].text))
		require.NotEmpty(t, f.databases[1].text)
	}
	require.Less(t, time.Since(began), 3*overviewMost, "its frames come as if it were alone")
}

func TestAStopEndsEveryStream(t *testing.T) {
	b := setup(t)
	w := b.watch(t, "view-token", "")
	var f seen
	w.next("fleet", &f)
	b.server.EndStreams()
	_, err := io.ReadAll(w.answer.Body)
	require.NoError(t, err, "it ends in good order")
	late := b.watch(t, "view-token", "")
	_, err = io.ReadAll(late.answer.Body)
	require.NoError(t, err)
}

func TestAMapIsToldOnceAndThenInParts(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.main.shown.cells = make([]job.Cell, 100_000)
	ask := func(since string) (m job.RangeMap, size int) {
		code, _, body := b.do(t, http.MethodGet, "/v1/jobs/norm/map?since="+since, "view-token", "")
		require.Equal(t, http.StatusOK, code, body)
		require.NoError(t, json.Unmarshal([]byte(body), &m))
		return m, len(body)
	}
	change := func(fn func([]job.Cell)) {
		b.main.mu.Lock()
		fn(b.main.shown.cells)
		b.main.mu.Unlock()
		for _, m := range b.server.maps.maps {
			m.mu.Lock()
			m.next = time.Time{}
			m.mu.Unlock()
		}
	}
	whole, size := ask("")
	require.True(t, whole.Whole)
	require.Equal(t, []int{0, 100_000, 0}, whole.Runs)
	require.Less(t, size, 500)

	same, _ := ask(whole.Revision)
	require.False(t, same.Whole)
	require.Empty(t, same.Runs)

	change(func(c []job.Cell) { c[7], c[8], c[9] = 768+100, 768+100, 512+3 })
	part, _ := ask(whole.Revision)
	require.Equal(t, []int{7, 2, 868, 9, 1, 515}, part.Runs)
	change(func(c []job.Cell) { c[9] = 512 + 4 })
	both, _ := ask(whole.Revision)
	require.Equal(t, []int{7, 2, 868, 9, 1, 516}, both.Runs)
	one, _ := ask(part.Revision)
	require.Equal(t, []int{9, 1, 516}, one.Runs)

	change(func([]job.Cell) { b.main.shown.cells = append(b.main.shown.cells, 0) })
	grown, _ := ask(one.Revision)
	require.Equal(t, 100_001, grown.Total)
	require.Equal(t, []int{100_000, 1, 0}, grown.Runs)

	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.Round = 1 })
	fill, _ := ask("")
	require.Equal(t, 0, fill.Round, "the verification has no ranges, so the fill is shown")
	require.Equal(t, 100_001, fill.Total)

	other, _ := ask("AAAAAAAA-3")
	require.True(t, other.Whole, "the revision of another server")
	nonsense, _ := ask("x")
	require.True(t, nonsense.Whole)

	change(func([]job.Cell) { b.main.shown.cells = b.main.shown.cells[:10] })
	anew, _ := ask(grown.Revision)
	require.True(t, anew.Whole, "a verification was forgotten, and another took its place")
	require.Equal(t, 10, anew.Total)
}

func TestRangeSamplesAndSpec(t *testing.T) {
	b := setup(t)
	b.submit(t)
	code, _, body := b.do(t, http.MethodGet, "/v1/jobs/norm/ranges/3", "view-token", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"span":"[1, 2)"`)
	code, _, body = b.do(t, http.MethodGet, "/v1/jobs/norm/ranges/8", "view-token", "")
	require.Equal(t, http.StatusNotFound, code, body)
	code, _, body = b.do(t, http.MethodGet, "/v1/jobs/norm/ranges/9999999999", "view-token", "")
	require.Equal(t, http.StatusUnprocessableEntity, code, body)
	code, _, body = b.do(t, http.MethodGet, "/v1/jobs/norm/samples?points=10", "view-token", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"rows_per_second":5`)
	code, _, body = b.do(t, http.MethodGet, "/v1/jobs/norm/spec", "view-token", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Contains(t, body, `"email_norm":"lower(email)"`)
}

func TestAnotherLeadersWordFillsTheGap(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.State = job.Running })
	at := time.Now().Add(-3 * time.Second)
	b.main.shown.point = &job.Point{At: at, Rate: 1234, Moment: job.Moment{Lags: map[string]float64{"standby1": 0.7}, Why: []job.Reason{{Signal: "cap", Text: "a cap"}}, ETA: &job.ETA{Low: 1, High: 2}}}
	now, err := b.server.databaseNow(t.Context(), b.server.Databases[0], map[job.ID]int{})
	require.NoError(t, err)
	j := now.Jobs[0]
	require.False(t, now.Here)
	require.Equal(t, at, *j.AsOf)
	require.InDelta(t, 1234, j.Rate, 0)
	require.InDelta(t, 0.7, j.Lag["standby1"].Seconds, 0)
	require.Equal(t, "a cap", j.Limiting[0].Text)
	require.True(t, j.ETA.Known())
}
