mod at_rest;
mod life;
mod offline;
mod staging;
