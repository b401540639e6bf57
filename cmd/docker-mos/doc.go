// Command docker-mos is the docker CLI plugin `docker mos`: it shows and steers
// what MosDocker's daemons do, through their admin APIs, and says what is wrong
// when they do not answer. Installed as docker-set it is `docker set`, which is
// not available yet.
//
// What it prints, and where, is ruled in output.go; docs/cli.md is its manual
// and is printed from its commands.
package main
