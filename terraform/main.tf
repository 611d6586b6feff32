resource "juju_application" "token_distributor" {
  name       = var.app_name
  model_uuid = var.model_uuid

  charm {
    name     = "microcluster-token-distributor"
    base     = var.base
    channel  = var.channel
    revision = var.revision
  }

  config            = var.config
  constraints       = var.constraints
  endpoint_bindings = var.endpoint_bindings
  machines          = var.machines
  # The provider takes either; with machines, there is one unit on each.
  units = var.machines == null ? var.units : null
}
