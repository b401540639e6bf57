package pluginsrv

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

type fact struct{ thing }

func (fact) AskedForAFact() {}

// TestUnreadableQuestionForAFactIsNotAnswered: the empty body of a repeated call
// must not get an error for an answer, which engines would take for the fact.
func TestUnreadableQuestionForAFactIsNotAnswered(t *testing.T) {
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Get", func(_ context.Context, r fact) (thing, error) { return r.thing, nil })
	})
	if code, body := s.post(t, "/X.Get", `{"ID":"a"}`); code != 200 || !strings.Contains(body, `"ID":"a"`) {
		t.Errorf("got %d %s", code, body)
	}
	for _, body := range []string{"", "{", `{"ID":1}`} {
		resp, err := s.http.Post("http://plugin/X.Get", "application/json", strings.NewReader(body))
		if err == nil {
			resp.Body.Close()
			t.Errorf("%q: got %d, want no answer", body, resp.StatusCode)
		}
	}
	if code, _ := s.post(t, "/X.Get", `{"ID":""}`); code != http.StatusBadRequest {
		t.Errorf("a request without an id: got %d", code)
	}
}
