output "app_name" {
  description = "Name of the application."
  value       = juju_application.token_distributor.name
}

output "application" {
  description = "The application, as the provider describes it."
  value       = juju_application.token_distributor
}

output "offers" {
  description = "Offers that the module makes: none."
  value       = {}
}

output "provides" {
  description = "Endpoints that other applications relate to."
  value = {
    microcluster_cluster = {
      endpoint = "microcluster-cluster"
      kind     = "endpoint"
      name     = juju_application.token_distributor.name
    }
  }
}

output "requires" {
  description = "Endpoints that need another application: none."
  value       = {}
}
