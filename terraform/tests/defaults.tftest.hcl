# Needs the provider's schema, so it runs where the Terraform registry can be reached.
mock_provider "juju" {}

variables {
  model_uuid = "6c8a0b0e-53a4-4a52-8f6e-0d6f3a3c1d5b"
}

run "one_unit_by_default" {
  command = plan

  assert {
    condition     = juju_application.token_distributor.units == 1
    error_message = "one unit is the default"
  }

  assert {
    condition     = juju_application.token_distributor.name == "microcluster-token-distributor"
    error_message = "the application has the charm's name"
  }
}

run "machines_replace_units" {
  command = plan

  variables {
    machines = ["3", "4"]
    units    = 5
  }

  assert {
    condition     = juju_application.token_distributor.machines == toset(["3", "4"])
    error_message = "one unit on each machine"
  }
}

run "no_machine_is_refused" {
  command = plan

  variables {
    machines = []
  }

  expect_failures = [var.machines]
}

run "an_unknown_option_is_refused" {
  command = plan

  variables {
    config = { "loglevel" = "debug" }
  }

  expect_failures = [var.config]
}
