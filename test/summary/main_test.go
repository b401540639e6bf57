package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ended is how go test tells the end of a test or a package, with what was printed before.
func ended(action, pkg, test, output string) string {
	return `{"Action":"output","Package":"` + pkg + `","Test":"` + test + `","Output":"` + output + `\n"}
{"Action":"` + action + `","Package":"` + pkg + `","Test":"` + test + `","Elapsed":1}
`
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ring.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWhatIsTriedAgain(t *testing.T) {
	failed := ended("fail", "p", "TestA", "x") + ended("fail", "p", "", "FAIL")
	for _, row := range [][2]string{
		{failed, "p TestA"},
		{ended("fail", "p", "TestA/sub", "x") + failed + ended("fail", "q", "TestB", "y"), "p TestA\nq TestB"},
		{ended("pass", "p", "TestA", "x"), "0 failures"},
		{ended("fail", "p", "TestA/sub", "MOS_SEED=7") + failed, "no matter of chance"},
		{ended("fail", "p", "TestA", "    a_test.go:1: seed 7"), "no matter of chance"},
		{ended("fail", "p", "TestA", "WARNING: DATA RACE"), "no matter of chance"},
		{ended("fail", "p", "TestA", "panic: test timed out after 1m"), "no matter of chance"},
		{ended("fail", "p", "", "does not compile"), "no matter of chance"},
		{failed + ended("fail", "q", "TestB", "") + ended("fail", "q", "TestC", ""), "3 failures"},
	} {
		text, want := row[0], row[1]
		var out strings.Builder
		err := again(&out, []string{file(t, text)})
		got := strings.TrimSpace(out.String())
		if err != nil {
			got += err.Error()
		}
		if !strings.Contains(got, want) || err != nil && out.Len() > 0 {
			t.Errorf("%s\ngot %q, want %q", text, got, want)
		}
	}
}

func TestASecondTryIsNamed(t *testing.T) {
	first := ended("pass", "p", "TestOK", "") + ended("skip", "p", "TestS", "needs a VM") + ended("fail", "p", "TestA", "first words") + ended("fail", "p", "", "FAIL")
	for second, want := range map[string]string{
		"": "1 passed, 1 failed, 1 skipped",
		ended("pass", "p", "TestA", "") + ended("pass", "p", "", ""):             "2 passed, 0 failed, 1 skipped",
		ended("pass", "p", "TestA", "") + ended("fail", "p", "", "leaked"):       "1 passed, 1 failed, 1 skipped",
		ended("fail", "p", "TestA", "second words") + ended("fail", "p", "", ""): "1 passed, 1 failed, 1 skipped",
	} {
		name := file(t, first)
		if second != "" {
			if err := os.WriteFile(name+".again", []byte(second), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		err := report(&out, "", false, []string{name})
		got := out.String()
		if !strings.Contains(got, want) || !strings.Contains(got, "first words") || !strings.Contains(got, "SKIP p TestS: needs a VM") ||
			(err == nil) != strings.Contains(got, "passed when it was run again") || (err == nil) != strings.Contains(want, " 0 failed") ||
			strings.Contains(second, "second words") != strings.Contains(got, "AGAIN FAIL p TestA") {
			t.Errorf("after %s\ngot %s%v\nwant %s", second, got, err, want)
		}
	}
}
