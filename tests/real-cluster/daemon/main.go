// Command microcluster is a microcluster daemon and the part of MicroOVN's command line that the
// token distributor and its consumers use. Exit status 1 and "Error: ..." on standard error mean
// failure, as there.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/canonical/lxd/lxd/util"
	"github.com/canonical/lxd/shared"
	"github.com/canonical/lxd/shared/cmd"
	"github.com/canonical/microcluster/v2/microcluster"
	"github.com/canonical/microcluster/v2/state"
	"github.com/spf13/cobra"
)

// What MicroOVN has: the port, the life of a token, and how long a bootstrap or join may take.
const (
	port        = 6443
	tokenLife   = 3 * time.Hour
	commandLife = 30 * time.Second
)

var stateDir string

// event is one line of the file "events" beside the state directory. It holds no token.
type event struct {
	Time  int64  `json:"time"` // nanoseconds since 1970
	Host  string `json:"host"`
	What  string `json:"what"`
	Name  string `json:"name,omitempty"` // whom a token is for
	Error string `json:"error,omitempty"`
}

// record writes down what an observer of the joins has to know. A write of one line is whole, also
// beside other writers.
func record(what, name string, failure error) {
	host, _ := os.Hostname()
	happened := event{Time: time.Now().UnixNano(), Host: host, What: what, Name: name}
	if failure != nil {
		happened.Error = failure.Error()
	}
	line, err := json.Marshal(happened)
	if err != nil {
		return
	}
	path := filepath.Join(filepath.Dir(stateDir), "events")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot record what happens:", err)
		return
	}
	defer file.Close()
	_, _ = file.Write(append(line, '\n'))
}

func app() (*microcluster.MicroCluster, error) {
	return microcluster.App(microcluster.Args{StateDir: stateDir})
}

// enter bootstraps or joins with the host's name and address.
func enter(ctx context.Context, token string) error {
	m, err := app()
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	address := util.CanonicalNetworkAddress(util.NetworkInterfaceAddress(), port)
	ctx, cancel := context.WithTimeout(ctx, commandLife)
	defer cancel()
	if token == "" {
		err = m.NewCluster(ctx, name, address, nil)
		record("bootstrap", "", err)
		return err
	}
	record("join begins", "", nil)
	err = m.JoinCluster(ctx, name, address, token, nil)
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), token, "TOKEN"))
	}
	record("join ends", "", err)
	return err
}

func list(ctx context.Context, format string) error {
	m, err := app()
	if err != nil {
		return err
	}
	client, err := m.LocalClient()
	if err != nil {
		return err
	}
	members, err := client.GetClusterMembers(ctx)
	if err != nil {
		return err
	}
	rows := make([][]string, len(members))
	for i, member := range members {
		fingerprint := shared.CertFingerprint(member.Certificate.Certificate)
		rows[i] = []string{member.Name, member.Address.String(), member.Role, fingerprint, string(member.Status)}
	}
	sort.Sort(cmd.SortColumnsNaturally(rows))
	header := []string{"NAME", "ADDRESS", "ROLE", "FINGERPRINT", "STATUS"}
	return cmd.RenderTable(format, header, rows, members)
}

func run(ctx context.Context, heartbeat time.Duration) error {
	m, err := app()
	if err != nil {
		return err
	}
	hooks := state.Hooks{
		// The command may have given up, or been killed, long before the daemon is a member.
		PostJoin: func(context.Context, state.State, map[string]string) error {
			record("daemon has joined", "", nil)
			return nil
		},
	}
	return m.Start(ctx, microcluster.DaemonArgs{Version: "test", HeartbeatInterval: heartbeat, Hooks: &hooks})
}

func main() {
	root := &cobra.Command{Use: "microovn", Short: "A microcluster for tests", SilenceUsage: true}
	root.PersistentFlags().StringVar(&stateDir, "state-dir", "", "where the daemon keeps its state")
	_ = root.MarkPersistentFlagRequired("state-dir")

	var heartbeat time.Duration
	daemon := &cobra.Command{Use: "daemon", Short: "Run the daemon of this host", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return run(c.Context(), heartbeat) }}
	daemon.Flags().DurationVar(&heartbeat, "heartbeat", 10*time.Second, "time from one heartbeat to the next")

	cluster := &cobra.Command{Use: "cluster", Short: "Found, grow, show and shrink a cluster"}
	cluster.AddCommand(&cobra.Command{Use: "bootstrap", Short: "Found a cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return enter(c.Context(), "") }})
	cluster.AddCommand(&cobra.Command{Use: "join TOKEN", Short: "Join a cluster", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return enter(c.Context(), args[0]) }})
	cluster.AddCommand(&cobra.Command{Use: "add NAME", Short: "Print a token for NAME", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := app()
			if err != nil {
				return err
			}
			token, err := m.NewJoinToken(c.Context(), args[0], tokenLife)
			record("add", args[0], err)
			if err == nil {
				fmt.Println(token)
			}
			return err
		}})

	var format string
	show := &cobra.Command{Use: "list", Short: "Show the members", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return list(c.Context(), format) }}
	show.Flags().StringVarP(&format, "format", "f", cmd.TableFormatTable, "csv, json, table, yaml or compact")

	var force bool
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a member", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := app()
			if err != nil {
				return err
			}
			client, err := m.LocalClient()
			if err != nil {
				return err
			}
			return client.DeleteClusterMember(c.Context(), args[0], force)
		}}
	remove.Flags().BoolVarP(&force, "force", "f", false, "also a member that does not answer")

	cluster.AddCommand(show, remove)
	root.AddCommand(daemon, cluster)
	if root.Execute() != nil {
		os.Exit(1)
	}
}
