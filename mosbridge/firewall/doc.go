// Package firewall is the host's side of the gateways: it publishes ports,
// translates what leaves, and keeps networks apart, in one nftables table of
// its own that is replaced in one transaction.
//
// [Render] decides and is pure; [Firewall] does, checks and repairs. Beside
// Docker's own rules, whose FORWARD policy is DROP, one chain of iptables
// lets the gateways pass.
package firewall
