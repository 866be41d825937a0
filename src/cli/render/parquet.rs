//! Many lives as one table in Parquet, for DuckDB, Spark, ClickHouse: one row a stack and dump.
//!
//! `examples/fleet/README.md` lists the columns; they may become more, none changes its meaning. Lists are as the
//! format's description wants them (three levels), times are microseconds in UTC, pages are gzipped, which every
//! reader can read without a library of its own (Spark's Snappy is native code, and fails where it takes a glibc for a
//! musl). Bytes and objects are unbiased estimates, so they add up.
//!
//! A row group is written when it is full, and never held beside another one: the size of the fleet does not matter.

use crate::cli::analyze::stacks::{Moment, Stack, Stacks};
use crate::cli::held::held;
use crate::cli::profile::labels::Labels;
use crate::cli::profile::series::{Dump, Series};
use crate::wire::ages::{freed_bin_start, live_bin_start};
use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

const SCHEMA: &str = "message heaptap {
    required binary life (UTF8);
    optional int64 pid;
    optional binary program (UTF8);
    required group labels (MAP) { repeated group key_value {
        required binary key (UTF8); required binary value (UTF8); } }
    required binary dump (UTF8);
    optional int64 time (TIMESTAMP(MICROS,true));
    optional double uptime_seconds;
    required int64 period_bytes;
    required int64 stack_id;
    required group frames (LIST) { repeated group list { required binary element (UTF8); } }
    optional binary own (UTF8);
    required double live_bytes;
    required double live_objects;
    required double allocated_bytes;
    required double allocated_objects;
    required group ages (LIST) { repeated group list { required group element {
        required double seconds; required double bytes; required double objects; } } }
    required group lifetimes (LIST) { repeated group list { required group element {
        required double seconds; required int64 samples; } } }
}";

/// Frames in a row group: the widest column makes its size.
const FULL: usize = 1 << 20;

/// A column: values, and where a reader meets them.
struct Column<T: DataType> {
    values: Vec<T::T>,
    /// 0: nothing is there. Empty for a column that always has a value.
    definitions: Vec<i16>,
    /// 0: a row begins. Empty for a column that is no list.
    repetitions: Vec<i16>,
}

impl<T: DataType> Default for Column<T> {
    fn default() -> Self {
        Column { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() }
    }
}

impl<T: DataType> Column<T> {
    /// A value of a row that always has one.
    fn put(&mut self, value: T::T) {
        self.values.push(value);
    }

    /// A value of a row that may have none.
    fn put_optional(&mut self, value: Option<T::T>) {
        self.definitions.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// The list of a row.
    fn put_list(&mut self, values: impl Iterator<Item = T::T>) {
        let before = self.values.len();
        self.values.extend(values);
        let count = self.values.len() - before;
        self.definitions.extend(std::iter::repeat_n(i16::from(count > 0), count.max(1)));
        self.repetitions.push(0);
        self.repetitions.extend(std::iter::repeat_n(1, count.saturating_sub(1)));
    }

    fn append(&mut self, mut other: Column<T>) {
        self.values.append(&mut other.values);
        self.definitions.append(&mut other.definitions);
        self.repetitions.append(&mut other.repetitions);
    }

    fn write<W: Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let missing = || ParquetError::General("the schema has fewer columns".to_owned());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        let levels = |levels: &'_ [i16]| (!levels.is_empty()).then_some(levels.to_vec());
        let (definitions, repetitions) = (levels(&self.definitions), levels(&self.repetitions));
        column.typed::<T>().write_batch(&self.values, definitions.as_deref(), repetitions.as_deref())?;
        column.close()
    }
}

/// Rows, column by column.
#[derive(Default)]
pub(crate) struct Rows {
    life: Column<ByteArrayType>,
    pid: Column<Int64Type>,
    program: Column<ByteArrayType>,
    label_keys: Column<ByteArrayType>,
    label_values: Column<ByteArrayType>,
    dump: Column<ByteArrayType>,
    time: Column<Int64Type>,
    uptime_seconds: Column<DoubleType>,
    period_bytes: Column<Int64Type>,
    stack_id: Column<Int64Type>,
    frames: Column<ByteArrayType>,
    own: Column<ByteArrayType>,
    live_bytes: Column<DoubleType>,
    live_objects: Column<DoubleType>,
    allocated_bytes: Column<DoubleType>,
    allocated_objects: Column<DoubleType>,
    age_seconds: Column<DoubleType>,
    age_bytes: Column<DoubleType>,
    age_objects: Column<DoubleType>,
    lifetime_seconds: Column<DoubleType>,
    lifetime_samples: Column<Int64Type>,
}

/// What all rows of a life share.
struct Life {
    id: ByteArray,
    pid: Option<i64>,
    program: Option<ByteArray>,
    keys: Vec<ByteArray>,
    values: Vec<ByteArray>,
    names: Vec<ByteArray>,
    /// By number of the dump.
    paths: Vec<ByteArray>,
}

impl Rows {
    /// The rows of a named life, some at a time: `take` gets them and says whether it wants more.
    pub(crate) fn of(series: &Series, labels: &Labels, take: &mut dyn FnMut(Rows) -> bool) {
        let stacks = Stacks::of(series);
        let text = |text: &str| ByteArray::from(text);
        let path = |dump: &Dump| text(&dump.path.to_string_lossy());
        let life = Life {
            id: text(&series.life()),
            pid: series.pid().map(i64::from),
            program: series.profile.title().map(text),
            keys: labels.keys().map(|key| text(key)).collect(),
            values: labels.values().map(|value| text(value)).collect(),
            names: stacks.names.iter().map(|name| text(name)).collect(),
            paths: series.dumps.iter().map(path).collect(),
        };
        let mut rows = Rows::default();
        for stack in &stacks.stacks {
            for (at, moment) in stack.moments(series) {
                let Some(dump) = series.dumps.get(at) else { continue };
                rows.put(&life, (at, dump), stack, &moment);
            }
            if rows.is_full() && !take(std::mem::take(&mut rows)) {
                return;
            }
        }
        if !rows.life.values.is_empty() {
            take(rows);
        }
    }

    fn put(&mut self, life: &Life, (at, dump): (usize, &Dump), stack: &Stack, moment: &Moment) {
        self.life.put(life.id.clone());
        self.pid.put_optional(life.pid);
        self.program.put_optional(life.program.clone());
        self.label_keys.put_list(life.keys.iter().cloned());
        self.label_values.put_list(life.values.iter().cloned());
        self.dump.put(life.paths.get(at).cloned().unwrap_or_default());
        self.time.put_optional(dump.time().map(|seconds| (seconds * 1e6).round() as i64));
        self.uptime_seconds.put_optional(dump.metadata.uptime_ns.map(|ns| ns as f64 / 1e9));
        self.period_bytes.put(i64::try_from(dump.period_bytes).unwrap_or(i64::MAX));
        self.stack_id.put(stack.id.cast_signed());
        let name = |at: &u32| life.names.get(*at as usize).cloned().unwrap_or_default();
        self.frames.put_list(stack.frames.iter().map(name));
        self.own.put_optional(stack.own.as_ref().map(name));
        self.live_bytes.put(moment.value.bytes);
        self.live_objects.put(moment.value.objects);
        self.allocated_bytes.put(moment.value.accum_bytes);
        self.allocated_objects.put(moment.value.accum_objects);
        let (live, freed) = (&moment.ages.live, &moment.ages.freed);
        self.age_seconds.put_list(live.iter().map(|bin| live_bin_start(bin.bin) as f64 / 1e9));
        self.age_bytes.put_list(live.iter().map(|bin| bin.bytes));
        self.age_objects.put_list(live.iter().map(|bin| bin.objects));
        self.lifetime_seconds.put_list(freed.iter().map(|(bin, _)| freed_bin_start(*bin) as f64 / 1e9));
        self.lifetime_samples.put_list(freed.iter().map(|(_, samples)| i64::try_from(*samples).unwrap_or(i64::MAX)));
    }

    fn is_full(&self) -> bool {
        self.frames.values.len() >= FULL
    }

    fn append(&mut self, other: Rows) {
        self.life.append(other.life);
        self.pid.append(other.pid);
        self.program.append(other.program);
        self.label_keys.append(other.label_keys);
        self.label_values.append(other.label_values);
        self.dump.append(other.dump);
        self.time.append(other.time);
        self.uptime_seconds.append(other.uptime_seconds);
        self.period_bytes.append(other.period_bytes);
        self.stack_id.append(other.stack_id);
        self.frames.append(other.frames);
        self.own.append(other.own);
        self.live_bytes.append(other.live_bytes);
        self.live_objects.append(other.live_objects);
        self.allocated_bytes.append(other.allocated_bytes);
        self.allocated_objects.append(other.allocated_objects);
        self.age_seconds.append(other.age_seconds);
        self.age_bytes.append(other.age_bytes);
        self.age_objects.append(other.age_objects);
        self.lifetime_seconds.append(other.lifetime_seconds);
        self.lifetime_samples.append(other.lifetime_samples);
    }

    /// In the order of the schema.
    fn write<W: Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        self.life.write(group)?;
        self.pid.write(group)?;
        self.program.write(group)?;
        self.label_keys.write(group)?;
        self.label_values.write(group)?;
        self.dump.write(group)?;
        self.time.write(group)?;
        self.uptime_seconds.write(group)?;
        self.period_bytes.write(group)?;
        self.stack_id.write(group)?;
        self.frames.write(group)?;
        self.own.write(group)?;
        self.live_bytes.write(group)?;
        self.live_objects.write(group)?;
        self.allocated_bytes.write(group)?;
        self.allocated_objects.write(group)?;
        self.age_seconds.write(group)?;
        self.age_bytes.write(group)?;
        self.age_objects.write(group)?;
        self.lifetime_seconds.write(group)?;
        self.lifetime_samples.write(group)
    }
}

/// What the format's writer writes into: it wants to own its file, and to be moved between threads.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        held(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a table.
pub(crate) struct Table<'a> {
    writer: SerializedFileWriter<Written>,
    written: Written,
    rows: Rows,
    out: &'a mut dyn Write,
}

impl<'a> Table<'a> {
    /// An empty one.
    pub(crate) fn new(out: &'a mut dyn Write) -> io::Result<Table<'a>> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let by = format!("heaptap version {}", env!("CARGO_PKG_VERSION"));
        let properties =
            WriterProperties::builder().set_compression(Compression::GZIP(GzipLevel::default())).set_created_by(by);
        let written = Written::default();
        let writer = SerializedFileWriter::new(written.clone(), schema, Arc::new(properties.build()))?;
        Ok(Table { writer, written, rows: Rows::default(), out })
    }

    /// Adds rows.
    pub(crate) fn add(&mut self, rows: Rows) -> io::Result<()> {
        self.rows.append(rows);
        if self.rows.is_full() { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left, and the format's end. How many rows there are.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.rows.life.values.is_empty() {
            self.write_group()?;
        }
        let metadata = self.writer.finish()?;
        self.pass_on()?;
        Ok(u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0))
    }

    fn write_group(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.writer.next_row_group()?;
        rows.write(&mut group)?;
        group.close()?;
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut *held(&self.written.0));
        self.out.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::series::SeriesBuilder;
    use crate::cli::symbolize;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    const AGED: &str = include_str!("../../../tests/dumps/shop/shop.4711.2.f.heap");

    #[test]
    fn what_is_written_is_read() {
        let mut builder = SeriesBuilder::all_ages();
        builder.add("shop.4711.2.f.heap".into(), None, heap_v2::parse(AGED.as_bytes()).unwrap());
        let mut series = builder.finish();
        symbolize::symbolize(&mut series.profile, &symbolize::Options::default(), &mut |_, _| {});
        let labels = Labels::from([("pod".to_owned(), "es-0".to_owned()), ("version".to_owned(), "2".to_owned())]);
        let mut file = Vec::new();
        let mut table = Table::new(&mut file).unwrap();
        // Twice, as two workers may hand on; and a life without rows.
        for _ in 0..2 {
            let mut failed = None;
            Rows::of(&series, &labels, &mut |rows| {
                failed = table.add(rows).err();
                true
            });
            assert!(failed.is_none(), "{failed:?}");
        }
        Rows::of(&Series::default(), &Labels::new(), &mut |_| panic!("there are no rows"));
        let rows = table.finish().unwrap();
        let path = std::env::temp_dir().join(format!("heaptap-table-{}.parquet", std::process::id()));
        std::fs::write(&path, file).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut bytes = 0.0;
        let mut seen = 0;
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            assert_eq!((row.get_string(0).unwrap().as_str(), row.get_long(1).unwrap()), ("9f3a12bc", 4711));
            assert_eq!(row.get_map(3).unwrap().len(), 2);
            assert!(row.get_list(9).unwrap().len() > 1);
            bytes += row.get_double(11).unwrap();
            seen += 1;
        }
        assert_eq!(seen, rows);
        assert!((bytes - 2.0 * series.profile.total().bytes).abs() < 1.0, "{bytes}");
    }

    #[test]
    fn a_list_without_values_is_a_row_of_its_own() {
        let mut column = Column::<Int64Type>::default();
        column.put_list([].into_iter());
        column.put_list([7, 8].into_iter());
        assert_eq!((column.definitions, column.repetitions, column.values), (vec![0, 1, 1], vec![0, 0, 1], vec![7, 8]));
    }
}
