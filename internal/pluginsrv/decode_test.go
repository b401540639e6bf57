package pluginsrv

import (
	"encoding/json"
	"testing"
)

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "{}", "null", `{"ID":"a"}`, `{"ID":"a","ID":"b"}`, `{"ID":"a"} x`, `{"Inner":{"A":"x"},"Options":{"k":"v"},"N":3}`, `{"x":[{"a":1,"a":2}]}`, `{"ſ":1,"N":1e999}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var loose, tight, plain thing
		err := Decode(body, &loose, false)
		if strict := Decode(body, &tight, true); strict == nil && err != nil {
			t.Errorf("strict took what loose refused: %v", err)
		}
		if err != nil {
			return
		}
		// What is taken means what encoding/json says, and is said again the same.
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("taken, but encoding/json says %v", err)
		}
		first, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		var again thing
		if err := Decode(first, &again, true); err != nil {
			t.Errorf("our own form %s: %v", first, err)
		}
	})
}
