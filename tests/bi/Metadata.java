import java.sql.*;
import java.util.*;

/** What JDBC tells of the warehouse, and so what Metabase, Tableau and others find: Metadata URL USER. */
public final class Metadata {
    public static void main(String[] arguments) throws SQLException {
        int columns = 0, keys = 0, withoutComment = 0, times = 0;
        Set<String> tables = new TreeSet<>(), views = new TreeSet<>(), bare = new TreeSet<>();
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], System.getenv().getOrDefault("PGPASSWORD", ""))) {
            DatabaseMetaData told = connection.getMetaData();
            try (ResultSet rows = told.getTables(null, "kore", "%", new String[] {"TABLE", "PARTITIONED TABLE", "VIEW"})) {
                while (rows.next()) {
                    (rows.getString("TABLE_TYPE").equals("VIEW") ? views : tables).add(rows.getString("TABLE_NAME"));
                    if (rows.getString("REMARKS") == null) withoutComment++;
                }
            }
            try (ResultSet rows = told.getColumns(null, "kore", "%", "%")) {
                while (rows.next()) {
                    columns++;
                    if (rows.getString("REMARKS") == null) withoutComment++;
                    int type = rows.getInt("DATA_TYPE");
                    if (type == Types.TIMESTAMP || type == Types.TIMESTAMP_WITH_TIMEZONE || type == Types.DATE) times++;
                }
            }
            for (String table : tables) {
                try (ResultSet rows = told.getPrimaryKeys(null, "kore", table)) {
                    if (!rows.next()) bare.add(table);
                }
                try (ResultSet rows = told.getImportedKeys(null, "kore", table)) {
                    while (rows.next()) if (rows.getShort("KEY_SEQ") == 1) keys++;
                }
            }
        }
        System.out.printf("JDBC: %d tables, %d views, %d columns, %d of them times, %d keys found; without comment %d, without primary key %s%n",
                tables.size(), views.size(), columns, times, keys, withoutComment, bare);
        if (withoutComment > 0 || !bare.isEmpty() || keys == 0 || views.isEmpty()) System.exit(1);
    }
}
