package dockerfile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/authz/dockerfile"
)

// pin names images by id:NAME, but for those of others.
func pin(text string, args map[string]string) (string, error) {
	return dockerfile.Pin(text, args, func(ref string) (string, error) {
		if strings.Contains(ref, "theirs") {
			return "", fmt.Errorf("%s is theirs", ref)
		}
		return "id:" + ref, nil
	})
}

func TestPin(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"FROM a\nRUN x", "FROM id:a\nRUN x"},
		{"\ufefffrom\ta:1 \r\nRUN x", "from id:a:1\nRUN x"},
		{"# FROM theirs\nFROM scratch\nCOPY a /", "# FROM theirs\nFROM scratch\nCOPY a /"},
		{"FROM --platform=linux/amd64 a AS x\nFROM x\nCOPY --chown=1 --from=X /a /b\nCOPY --from=0 a b\nCOPY --from=b:1 a b", "FROM --platform=linux/amd64 id:a AS x\nFROM x\nCOPY --chown=1 --from=X /a /b\nCOPY --from=0 a b\nCOPY --from=id:b:1 a b"},
		{"ARG V=1\nARG W='2' N=img\nFROM ${N}:$V-$W", "ARG V=1\nARG W='2' N=img\nFROM id:img:1-2"},
		{"ARG V\nFROM a:$V", "ARG V\nFROM id:a:given"},
		{"FROM a\nRUN one \\\n  # FROM theirs\n\n  two `x` \\\n  && COPYING\nCOPY a \\\n  b /", "FROM id:a\nRUN one \\\n  # FROM theirs\n\n  two `x` \\\n  && COPYING\nCOPY a \\\n  b /"},
		{"FROM a\nRUN echo `date`\nFROM b", "FROM id:a\nRUN echo `date`\nFROM id:b"},
		{"FROM a\nONBUILD COPY . /x\nONBUILD RUN echo \"a\" \\\n b", "FROM id:a\nONBUILD COPY . /x\nONBUILD RUN echo \"a\" \\\n b"},
		{"FROM a\nRUN cat <<< word $((1<<2))", "FROM id:a\nRUN cat <<< word $((1<<2))"},
		{"FROM a AS x\nFROM b AS y\nCOPY --from=y a b", "FROM id:a AS x\nFROM id:b AS y\nCOPY --from=id:y a b"}, // its own stage is none
	} {
		got, err := pin(c.text, map[string]string{"V": "given", "W": "w"})
		if strings.Contains(c.text, "ARG W") {
			c.want = strings.ReplaceAll(c.want, "1-2", "given-w")
		}
		if err != nil || got != c.want {
			t.Errorf("%q\n is %q, %v\nwant %q", c.text, got, err, c.want)
		}
	}
}

// TestPinRefuses has what reads another's image to some Engine.
func TestPinRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"FROM theirs":                                           "line 1 of the Dockerfile: theirs is theirs",
		"FROM a\n \tFrOm theirs":                                "line 2",
		"FROM a\nCOPY --from=theirs a b":                        "theirs is theirs",
		"FROM a\nCOPY --chown=1 --from=theirs a b":              "theirs is theirs",
		"FROM a\nCOPY --fr\\\nom=theirs a b":                    "two lines",
		"FROM a\nCOPY \\\n --from=theirs a b":                   "two lines",
		"FROM a\nCOPY --chown=1 -\\\n-from=theirs a b":          "two lines",
		"FROM a\nCOPY --from=\"theirs\" a b":                    "quotes",
		"FROM a\nCOPY --fr\"om\"=theirs a b":                    "quotes",
		"FR\\\nOM theirs":                                       "two lines",
		"# escape=`\nFR`\nOM theirs":                            "two lines",
		"#  EsCaPe = `\nFROM a\nRUN x `\nFROM scratch AS s":     "another instruction",
		"FROM \\\ntheirs":                                       "in one line",
		"FROM th\\\neirs":                                       "in one line",
		"FROM \"theirs\"":                                       "without quotes",
		"FROM a b":                                              "want FROM",
		"FROM":                                                  "want FROM",
		"FROM a\nRUN x \\\n\n # c\nFROM scratch AS s\nFROM s":   "another instruction",
		"FROM a\nRUN <<EOF\nFROM scratch AS s\nEOF\nFROM s":     "here-documents",
		"FROM a\nCOPY <<\"EOF\" /x\nFROM scratch AS s\nEOF":     "here-documents",
		"FROM a\nRUN x \\\nCOPY --from=0 a b":                   "another instruction",
		"FROM $A":                                               "A has no plain value",
		"ARG A=$B\nFROM $A":                                     "A has no plain value",
		"ARG A=a\nFROM ${A:-theirs}":                            "not the plain name",
		"ARG A=theirs\nFROM $A":                                 "theirs is theirs",
		"FROM s\nFROM theirs AS theirs":                         "theirs is theirs",
		"FROM a AS x\nFROM a AS theirs\nCOPY --from=theirs a b": "theirs is theirs",
		"FROM a\nONBUILD COPY --from=theirs a b":                "ONBUILD",
		"FROM a\nONBUILD COPY --fr\"om\"=theirs a b":            "ONBUILD",
		"FROM a\nONBUILD COPY \\\n--from=theirs a b":            "ONBUILD",
		"FROM a\nONBUILD CO\\\nPY --from=theirs a b":            "ONBUILD",
		"FROM a\nONBU\\\nILD COPY --from=theirs a b":            "two lines",
	} {
		if got, err := pin(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// FuzzPin: what passes reads nothing but what was judged, to whoever takes each line for the
// beginning of an instruction; and it is pinned as a whole: its ids are the only images.
func FuzzPin(f *testing.F) {
	for _, s := range []string{"FROM a AS b\nCOPY --from=b x y", "# escape=`\nFROM a\nRUN `\n x", "ARG A=b\nFROM $A\nONBUILD COPY a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := pin(text, nil)
		if err != nil {
			return
		}
		names := map[string]bool{"scratch": true}
		for line := range strings.Lines(out) {
			w := strings.Fields(line)
			if len(w) < 2 || !strings.EqualFold(w[0], "FROM") {
				continue
			}
			for len(w) > 2 && strings.HasPrefix(w[1], "--") {
				w = w[1:]
			}
			if !strings.HasPrefix(w[1], "id:") && !names[strings.ToLower(w[1])] {
				t.Errorf("%q of %q", line, out)
			}
			if len(w) == 4 {
				names[strings.ToLower(w[3])] = true
			}
		}
	})
}

// TestManyStages: more than a file has room for take no long time, which others would wait for.
func TestManyStages(t *testing.T) {
	var b strings.Builder
	for i := range 150_000 { // where each is compared with all before, that takes 30 s
		fmt.Fprintf(&b, "FROM a AS s%d\n", i)
	}
	start := time.Now()
	_, err := dockerfile.Pin(b.String(), nil, func(ref string) (string, error) { return ref, nil })
	if took := time.Since(start); err != nil || took > 15*time.Second {
		t.Errorf("it takes %v: %v", took, err)
	}
}
