#cloud-config
{}
