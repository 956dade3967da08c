module waypost.dev/tests/bench/programs/sink

go 1.21
