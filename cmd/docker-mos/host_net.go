package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// ours says what a link or port of that name would be, "" when it is not ours.
func ours(name string) string {
	rest := ""
	what := ""
	for prefix, w := range map[string]string{
		spec.PrefixPort: "host side of a container's interface", spec.PrefixPeer: "container side that no container took",
		spec.PrefixGateway: "gateway of a network", spec.PrefixRouter: "port behind a gateway",
	} {
		if r, ok := strings.CutPrefix(name, prefix); ok {
			rest, what = r, w
		}
	}
	if len(rest) != 11 || strings.Trim(rest, "0123456789abcdef") != "" {
		return ""
	}
	return what
}

func (h host) links(context.Context) ([]api.Finding, error) {
	entries, err := os.ReadDir(filepath.Join(h.root, "/sys/class/net"))
	var found []api.Finding
	for _, e := range entries {
		if what := ours(e.Name()); what != "" {
			found = append(found, api.Finding{Kind: "link", Object: e.Name(), Detail: what})
		}
	}
	return found, err
}

func (h host) ports(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "--bare", "--columns=name", "list", "Interface")
	var found []api.Finding
	if absent(err) {
		return nil, nil
	}
	for name := range strings.FieldsSeq(out) {
		if what := ours(name); what != "" {
			found = append(found, api.Finding{Kind: "port", Object: name, Detail: "in Open vSwitch: " + what})
		}
	}
	return found, err
}

func (h host) bridges(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "--bare", "--columns=name", "find", "Bridge", `external_ids:"mos:owner"=mosbridge`)
	if err != nil {
		return nil, nil //nolint:nilerr // ports said so already
	}
	var found []api.Finding
	for name := range strings.FieldsSeq(out) {
		found = append(found, api.Finding{Kind: "bridge", Object: name, Detail: "bridge of Open vSwitch made by mosbridge"})
	}
	return found, nil
}

func (h host) rules(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "nft", "list", "tables")
	if absent(err) {
		return nil, nil
	}
	if slices.Contains(strings.Split(out, "\n"), "table inet mosbridge") {
		return []api.Finding{{Kind: "rules", Object: "table inet mosbridge", Detail: "rules of nftables"}}, err
	}
	return nil, err
}

// bridgeTools says whether mosbridge has what it stands on.
func (h host) bridgeTools(ctx context.Context, cs *checks) {
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "get", "Open_vSwitch", ".", "ovs_version")
	cs.add("open vswitch answers", "version "+strings.Trim(strings.TrimSpace(out), `"`), err, "install openvswitch-switch and start it: systemctl start openvswitch-switch, or make up")
}
